"""Checks values against the dataclasses of a config.

Works from the dataclasses of ``zipformer.config`` alone: a new field there is a new key here. Where
a field may be one of several dataclasses, the key ``kind`` of its section chooses.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Union, get_args, get_origin

from zipformer.config import RunConfig
from zipformer.nn.encoder_config import EncoderConfig

PRESETS = ("small", "medium", "large")  # methods of an encoder's config
KIND = "kind"


class ConfigError(ValueError):
    """A key or a value that no config has."""


class UnknownKeyError(ConfigError):
    """A key that no config has."""


def from_dict(values: Mapping[str, Any]) -> RunConfig:
    """The inverse of ``config_text.to_dict``.

    Raises:
        ConfigError: On a key that this version does not know.
    """
    try:
        return build(RunConfig, parse_table(RunConfig, values, None, "the stored config"))
    except UnknownKeyError as error:
        raise UnknownKeyError(
            f"{error}. Was it written by a newer version of zipformer? Then install that one"
        ) from None


# Types


def _hints(cls: type) -> dict[str, Any]:
    """Types of the fields, by name."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def is_optional(kind: Any) -> bool:
    """Whether a type is X | None."""
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


def inner_type(kind: Any) -> Any:
    """X of X | None."""
    if not is_optional(kind):
        return kind
    return next(a for a in get_args(kind) if a is not type(None))


def variants(kind: Any) -> dict[str, type]:
    """The dataclasses that a type is one of, by their ``kind``; none if it is no such choice."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()
    if not members or not all(is_dataclass(member) for member in members):
        return {}
    return {get_args(_hints(member)[KIND])[0]: member for member in members}


def section_type(kind: Any, values: Any, where: str) -> type | None:
    """The dataclass of a section, None if a type is that of a single value.

    Args:
        kind: The type of the field.
        values: What is known of the section's table; its ``kind`` decides if there is a choice,
            which is the first one without.
        where: For the message.

    Raises:
        ConfigError: On a kind that there is not.
    """
    choice = variants(kind)
    if not choice:
        return typing.cast(type, kind) if is_dataclass(kind) else None
    first = next(iter(choice))
    name = values.get(KIND, first) if isinstance(values, Mapping) else first
    if not isinstance(name, str) or name not in choice:
        raise ConfigError(f"{where}: {KIND} {name!r} is none of {', '.join(choice)}")
    return choice[name]


def choices() -> dict[str, dict[str, type]]:
    """The sections that may be one of several dataclasses, with these by their kind."""
    found = {name: variants(kind) for name, kind in _hints(RunConfig).items()}
    return {name: choice for name, choice in found.items() if choice}


def show_type(kind: Any) -> str:
    """A type as a person calls it."""
    if get_origin(kind) is Literal:
        return "|".join(str(a) for a in get_args(kind))
    if get_origin(kind) is tuple:
        return "list of " + show_type(get_args(kind)[0])
    if get_origin(kind) is dict:
        return "table of " + show_type(get_args(kind)[1])
    if is_optional(kind):
        return show_type(inner_type(kind)) + " or none"
    return {bool: "true|false", int: "integer", float: "number", str: "text", Path: "path"}.get(
        kind, str(kind)
    )


# Values of a TOML, or of a checkpoint


def parse_table(
    cls: type, values: Mapping[str, Any], base: Path | None, where: str
) -> dict[str, Any]:
    """Checks and converts a table; dataclasses inside stay tables until ``build``.

    Paths are relative to ``base``, or stay as they are if it is None.
    """
    hints: dict[str, Any] = _hints(cls)
    found: dict[str, Any] = {}
    for written, value in values.items():
        key = written.replace("-", "_")
        if key in found:
            raise ConfigError(f"{where}: {key!r} stands there twice, with - and with _")
        if issubclass(cls, EncoderConfig) and key == "preset":
            found[key] = _checked_preset(value, where)
            continue
        if key not in hints:
            raise UnknownKeyError(f"{where}: unknown key {written!r}{_where_it_is(cls, key)}")
        found[key] = convert(hints[key], value, base, f"{where}: {key}")
    return found


def _where_it_is(cls: type, key: str) -> str:
    """The end of a message about a key that a section does not have."""
    for choice in choices().values():
        if cls in choice.values():
            others = [name for name, other in choice.items() if key in _hints(other)]
            if others:
                own = next(name for name, other in choice.items() if other is cls)
                return f": kind {own!r} has no such key, kind {' or '.join(map(repr, others))} has"
    elsewhere = [name for name, _, _ in leaves() if name.rsplit(".", 1)[-1] == key]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    return suggest(key, _key_names(cls))


def _key_names(cls: type) -> list[str]:
    return [*_hints(cls), *(["preset"] if issubclass(cls, EncoderConfig) else [])]


def convert(kind: Any, value: Any, base: Path | None, where: str) -> Any:
    """A value as the type wants it, or a ``ConfigError`` saying where it is and what fits."""
    section = section_type(kind, value, where)
    if section is not None:
        if not isinstance(value, Mapping):
            raise wrong_type(where, "a table", value)
        return parse_table(section, value, base, where)
    if is_optional(kind):
        return None if value in (None, "") else convert(inner_type(kind), value, base, where)
    origin = get_origin(kind)
    if origin is tuple:
        return _convert_list(kind, value, base, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise wrong_type(where, "a table", value)
        inner = get_args(kind)[1]
        return {k: convert(inner, v, base, f"{where}.{k}") for k, v in value.items()}
    return _convert_plain(kind, value, base, where)


def _convert_list(kind: Any, value: Any, base: Path | None, where: str) -> tuple[Any, ...]:
    arguments = get_args(kind)
    if not isinstance(value, list | tuple):
        raise wrong_type(where, "a list", value)
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise wrong_type(where, f"a list of {len(arguments)}", value)
    return tuple(convert(arguments[0], v, base, where) for v in value)


def _convert_plain(kind: Any, value: Any, base: Path | None, where: str) -> Any:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigError(
                f"{where}: {value!r} is none of {', '.join(map(str, get_args(kind)))}"
            )
        return value
    if kind is Path and isinstance(value, str | Path):
        return Path(value) if base is None else _absolute(Path(value), base)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind or value != value:  # NaN is no setting
        raise wrong_type(where, show_type(kind), value)
    return value


def _absolute(path: Path, base: Path) -> Path:
    return (base / path.expanduser()).resolve()


def with_absolute_paths(value: Any, base: Path) -> Any:
    """The same config, its relative paths (those are defaults) resolved against ``base``."""
    if isinstance(value, Path):
        return _absolute(value, base)
    if isinstance(value, tuple):
        return tuple(with_absolute_paths(v, base) for v in value)
    if isinstance(value, dict):
        return {k: with_absolute_paths(v, base) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: with_absolute_paths(getattr(value, f.name), base) for f in fields(value)}
        return type(value)(**found)
    return value


def _checked_preset(value: Any, where: str) -> str:
    if value not in PRESETS:
        raise ConfigError(f"{where}: preset {value!r} is none of {', '.join(PRESETS)}")
    return value


def wrong_type(where: str, wanted: str, value: Any) -> ConfigError:
    """The error for a value of another type."""
    return ConfigError(f"{where} must be {wanted}, got {value!r}")


def suggest(key: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown key: the nearest ones, or all."""
    near = difflib.get_close_matches(key, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(known)}"


def build(cls: type, values: Mapping[str, Any]) -> Any:
    """Makes a dataclass, and those inside it, from a checked table."""
    hints, values = _hints(cls), dict(values)
    for name, kind in hints.items():
        if name in values and (section := section_type(kind, values[name], name)):
            values[name] = build(section, values[name])
    if issubclass(cls, EncoderConfig) and "preset" in values:
        return getattr(cls, values.pop("preset"))(**values)
    return cls(**values)


def leaves(
    cls: type = RunConfig, prefix: str = "", values: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, type, default) of everything that can be set.

    Args:
        cls: A config, or a section of one.
        prefix: Of the keys.
        values: Its table as far as it is known; it says which kinds are meant.
    """
    if issubclass(cls, EncoderConfig):
        yield f"{prefix}preset", Literal[PRESETS], None
    hints = _hints(cls)
    for f in fields(cls):
        kind, inner = hints[f.name], values.get(f.name, {})
        if section := section_type(kind, inner, prefix + f.name):
            for name, leaf, default in leaves(section, f"{prefix}{f.name}.", inner):
                chooses = name == f"{prefix}{f.name}.{KIND}" and variants(kind)
                yield name, Literal[tuple(variants(kind))] if chooses else leaf, default
        else:
            default = f.default if f.default_factory is MISSING else f.default_factory()
            yield prefix + f.name, kind, default
