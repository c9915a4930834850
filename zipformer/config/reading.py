"""Checks the values of a TOML or of a checkpoint, and makes a config of them.

Tables are checked first and built last, because the command line changes them in between.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin

from zipformer.config import RunConfig
from zipformer.config.schema import (
    PRESET,
    ConfigError,
    FieldType,
    entry_type,
    inner_type,
    is_optional,
    keys_of,
    leaves,
    section_type,
    sections_with_kinds,
    show_type,
    values_of,
)
from zipformer.config.toml import plain, toml_value
from zipformer.nn.zipformer.config import BlockName

Section = TypeVar("Section")  # a dataclass of ``zipformer.config``

# Values that older versions called otherwise, by the type of their key.
RENAMED: dict[FieldType, dict[str, str]] = {BlockName: {"conformer": "conformer_pair"}}


class UnknownKeyError(ConfigError):
    """A key that no config has."""


def from_dict(values: Mapping[str, object]) -> RunConfig:
    """The inverse of ``zipformer.config.toml.to_dict``; missing keys take their defaults.

    Raises:
        ConfigError: On a key that this version does not know, or a wrong value.
    """
    try:
        return build(RunConfig, check_table(RunConfig, values, "the stored config"))
    except UnknownKeyError as error:
        raise UnknownKeyError(
            f"{error}. Was it written by a newer version of zipformer? Then install that one"
        ) from None


# Tables


def check_table(cls: type, values: Mapping[str, object], where: str) -> dict[str, object]:
    """Checks and converts a table; dataclasses inside stay tables until ``build``.

    Args:
        cls: The dataclass that it is meant for.
        values: By key, with hyphens or underscores.
        where: The table's place, for messages.

    Raises:
        ConfigError: On an unknown key or a wrong value, naming the candidates.
    """
    keys = keys_of(cls)
    found: dict[str, object] = {}
    for written, value in values.items():
        key = written.replace("-", "_")
        if key in found:
            raise ConfigError(f"{where}: {key!r} is there twice, with - and with _")
        if key not in keys:
            raise UnknownKeyError(f"{where}: unknown key {written!r}{_where_it_is(cls, key)}")
        found[key] = convert(keys[key], value, f"{where}: {key}")
    return found


def build(cls: type[Section], table: Mapping[str, object]) -> Section:
    """Makes a dataclass, and those inside it, from a checked table."""
    keys, values = keys_of(cls), dict(table)
    for key, value in table.items():
        if section := section_type(keys[key], value, key):
            values[key] = build(section, _checked_mapping(value, key))
        elif (entry := entry_type(keys[key])) and isinstance(value, tuple):
            values[key] = tuple(
                build(entry, item) if isinstance(item, dict) else item for item in value
            )
    make: Callable[..., Section] = cls
    if PRESET in values:
        make = getattr(cls, str(values.pop(PRESET)))
    return make(**values)


def with_absolute_paths(value: object, base: Path) -> object:
    """The same config, or value of one, its relative paths resolved against ``base``."""
    if isinstance(value, Path):
        return (base / value.expanduser()).resolve()
    if isinstance(value, tuple):
        return tuple(with_absolute_paths(v, base) for v in value)
    if isinstance(value, dict):
        return {k: with_absolute_paths(v, base) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: with_absolute_paths(getattr(value, f.name), base) for f in fields(value)}
        return replace(value, **found)
    return value


# Values


def convert(field_type: FieldType, value: object, where: str) -> object:
    """A value as the type wants it, or a ``ConfigError`` saying where it is and what fits."""
    section = section_type(field_type, value, where)
    if section is not None:
        return check_table(section, _checked_mapping(value, where), where)
    if is_optional(field_type):
        return None if value in (None, "") else convert(inner_type(field_type), value, where)
    if values_of(field_type):
        return _convert_one_of(field_type, value, where)
    origin = get_origin(field_type)
    if origin is tuple:
        return _convert_list(field_type, value, where)
    if origin is dict:
        inner, table = get_args(field_type)[1], _checked_mapping(value, where)
        return {name: convert(inner, item, f"{where}.{name}") for name, item in table.items()}
    if origin is Literal:
        return _convert_choice(field_type, value, where)
    return _convert_plain(field_type, value, where)


def _checked_mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise wrong_type(where, "a table", value)
    return value


def _convert_list(field_type: FieldType, value: object, where: str) -> tuple[object, ...]:
    arguments = get_args(field_type)
    if not isinstance(value, list | tuple):
        raise wrong_type(where, "a list", value)
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise wrong_type(where, f"a list of {len(arguments)}", value)
    return tuple(convert(arguments[0], item, where) for item in value)


def _convert_one_of(field_type: FieldType, value: object, where: str) -> object:
    entry = entry_type(field_type)
    if entry and isinstance(value, Mapping):
        return _convert_entry(entry, value, where)
    for one in values_of(field_type):
        try:
            return convert(one, value, where)
        except ConfigError:
            continue
    raise wrong_type(where, show_type(field_type), value)


def _convert_entry(entry: type, value: Mapping[str, object], where: str) -> dict[str, object]:
    table = check_table(entry, value, where)
    needed = [f.name for f in fields(entry) if f.default is MISSING]
    if missing := [name for name in needed if name not in table]:
        raise ConfigError(f"{where}: {toml_value(plain(value))} has no {' and no '.join(missing)}")
    return table


def _convert_choice(field_type: FieldType, value: object, where: str) -> object:
    for old, new in RENAMED.get(field_type, {}).items():
        value = new if value == old else value
    if value not in get_args(field_type):
        raise ConfigError(
            f"{where}: {value!r} is none of {', '.join(map(str, get_args(field_type)))}"
        )
    return value


def _convert_plain(field_type: FieldType, value: object, where: str) -> object:
    if field_type is Path and isinstance(value, str | Path):
        return Path(value)
    if field_type is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not field_type or value != value:  # NaN is no setting
        raise wrong_type(where, show_type(field_type), value)
    return value


# Messages


def wrong_type(where: str, wanted: str, value: object) -> ConfigError:
    """The error for a value of another type."""
    return ConfigError(f"{where} must be {wanted}, got {value!r}")


def suggest(key: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown key: the nearest ones, or all."""
    near = difflib.get_close_matches(key, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(known)}"


def _where_it_is(cls: type, key: str) -> str:
    """The end of a message about a key that a section does not have."""
    for kinds in sections_with_kinds().values():
        own = [name for name, member in kinds.items() if member is cls]
        others = [repr(name) for name, member in kinds.items() if key in keys_of(member)]
        if own and others:
            return f": kind {own[0]!r} has no such key, kind {' or '.join(others)} has"
    elsewhere = [name for name, _, _ in leaves() if name.rsplit(".", 1)[-1] == key]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    return suggest(key, list(keys_of(cls)))
