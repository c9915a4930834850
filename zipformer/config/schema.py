"""Which keys a config has, and of which types: read off the dataclasses of ``zipformer.config``.

A new field there is a new key here. Where a field may be one of several dataclasses, the key
``kind`` of its section chooses.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Union, get_args, get_origin

from zipformer.config import RunConfig
from zipformer.nn.encoder_config import EncoderConfig

KIND = "kind"
PRESET = "preset"
PRESETS = ("small", "medium", "large")  # methods of an encoder's config

# A type as ``typing.get_type_hints`` gives it: a class, ``X | None``, ``Literal[...]`` and so on.
# Python has no name for these together (PEP 747 proposes one).
FieldType = Any


class ConfigError(ValueError):
    """A key or a value that no config has."""


# Types


def is_optional(field_type: FieldType) -> bool:
    """Whether a type is X | None."""
    return get_origin(field_type) in (Union, types.UnionType) and type(None) in get_args(field_type)


def inner_type(field_type: FieldType) -> FieldType:
    """X of X | None; other types as they are."""
    if not is_optional(field_type):
        return field_type
    return next(a for a in get_args(field_type) if a is not type(None))


def values_of(field_type: FieldType) -> tuple[FieldType, ...]:
    """The types that a single value may have where there are several, as in int | Literal["auto"].

    Empty where there is one; X | None and choices between dataclasses do not count.
    """
    several = get_origin(field_type) in (Union, types.UnionType)
    if not several or is_optional(field_type) or kinds_of(field_type):
        return ()
    return get_args(field_type)


def kinds_of(field_type: FieldType) -> dict[str, type]:
    """The dataclasses that a type is one of, by their ``kind``; none if it is no such choice."""
    members = get_args(field_type) if get_origin(field_type) in (Union, types.UnionType) else ()
    if not members or not all(is_dataclass(member) for member in members):
        return {}
    return {get_args(keys_of(member)[KIND])[0]: member for member in members}


def entry_type(field_type: FieldType) -> type | None:
    """The dataclass that the entries of a list may be written as tables of; None if there is none.

    Args:
        field_type: Of the list, or of an entry.
    """
    inner = get_args(field_type)[0] if get_origin(field_type) is tuple else field_type
    return next((o for o in values_of(inner) if isinstance(o, type) and is_dataclass(o)), None)


def show_type(field_type: FieldType) -> str:
    """A type as a person calls it."""
    if get_origin(field_type) is Literal:
        return "|".join(str(a) for a in get_args(field_type))
    if get_origin(field_type) is tuple:
        return "list of " + show_type(get_args(field_type)[0])
    if get_origin(field_type) is dict:
        return "table of " + show_type(get_args(field_type)[1])
    if is_optional(field_type):
        return show_type(inner_type(field_type)) + " or none"
    if values := values_of(field_type):
        return " or ".join(map(show_type, values))
    if isinstance(field_type, type) and is_dataclass(field_type):
        return f"{{{', '.join(keys_of(field_type))}}}"
    names = {bool: "true|false", int: "integer", float: "number", str: "text", Path: "path"}
    return names.get(field_type, str(field_type))


# Sections and keys


def keys_of(cls: type) -> Mapping[str, FieldType]:
    """The types of what a section's table may hold, by key."""
    return _resolved(cls)


@cache  # resolving annotations takes most of the time of reading a config
def _resolved(cls: type) -> Mapping[str, FieldType]:
    hints = typing.get_type_hints(cls)
    keys = {f.name: hints[f.name] for f in fields(cls)}
    return {PRESET: Literal[PRESETS], **keys} if issubclass(cls, EncoderConfig) else keys


def section_type(field_type: FieldType, values: object, where: str) -> type | None:
    """The dataclass of a section, None if a type is that of a single value.

    Args:
        field_type: The type of the field.
        values: What is known of the section's table. Its ``kind`` decides where there are several;
            without one the first is meant.
        where: The section's place, for messages.

    Raises:
        ConfigError: On an unknown kind.
    """
    kinds = kinds_of(field_type)
    if not kinds:
        return field_type if isinstance(field_type, type) and is_dataclass(field_type) else None
    first = next(iter(kinds))
    name = values.get(KIND, first) if isinstance(values, Mapping) else first
    if not isinstance(name, str) or name not in kinds:
        raise ConfigError(f"{where}: {KIND} {name!r} is none of {', '.join(kinds)}")
    return kinds[name]


def sections_with_kinds() -> dict[str, dict[str, type]]:
    """The sections that may be one of several dataclasses, with these by their kind."""
    found = {name: kinds_of(field_type) for name, field_type in keys_of(RunConfig).items()}
    return {name: kinds for name, kinds in found.items() if kinds}


def leaves(
    cls: type = RunConfig, prefix: str = "", values: Mapping[str, object] = MappingProxyType({})
) -> Iterator[tuple[str, FieldType, object]]:
    """(dotted key, type, default) of everything that can be set.

    Args:
        cls: A config, or a section of one.
        prefix: Of the keys.
        values: Its table as far as it is known; it says which kinds are meant.
    """
    defaults = {
        f.name: f.default if f.default_factory is MISSING else f.default_factory()
        for f in fields(cls)
    }
    for name, field_type in keys_of(cls).items():
        key, inner = prefix + name, values.get(name, {})
        if section := section_type(field_type, inner, key):
            kinds = tuple(kinds_of(field_type))
            known = inner if isinstance(inner, Mapping) else {}
            for leaf, leaf_type, default in leaves(section, f"{key}.", known):
                chooses = kinds and leaf == f"{key}.{KIND}"
                yield leaf, Literal[kinds] if chooses else leaf_type, default
        else:
            yield key, field_type, defaults.get(name)
