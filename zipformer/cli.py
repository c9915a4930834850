"""Reads a run's config: defaults, then one TOML, then the command line; strict at every step.

Works from the dataclasses of ``zipformer.config`` alone: a new field there is a new key here.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from zipformer.config import RunConfig
from zipformer.nn.config import ZipformerConfig

PRESETS = {
    "small": ZipformerConfig.small,
    "medium": ZipformerConfig.medium,
    "large": ZipformerConfig.large,
}


class ConfigError(ValueError):
    """A key or a value that no config has."""


class UnknownKeyError(ConfigError):
    """A key that no config has."""


def load_config(toml: Path | str | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Resolves a config.

    Args:
        toml: The recipe; paths in it are relative to its folder. None for the defaults.
        overrides: Command-line words, as in ``["--max-duration", "300", "--noise-prob", "0"]``;
            paths in them are relative to the working directory.

    Returns:
        The config, with absolute paths.

    Raises:
        ConfigError: On an unknown key or a wrong value, naming the candidates.
        ValueError: If settings contradict each other.
    """
    values: dict[str, Any] = {}
    if toml is not None:
        path = Path(toml)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: there is no such config") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}") from None
        values = _parse(RunConfig, values, path.resolve().parent, str(path))
    for key, words in _pairs(overrides):
        section, name, kind = _find(key)
        parsed = _from_words(kind, words, f"--{key}")
        _merge(values, section, name, parsed)
    # Default paths are meant as if the TOML had them.
    base = Path.cwd() if toml is None else Path(toml).resolve().parent
    return _with_absolute_paths(_build(RunConfig, values), base)


def parse_args(argv: Sequence[str], description: str | None = None) -> RunConfig:
    """The command line of training: a TOML, and ``--key value`` for anything in it.

    ``--print-config`` prints the resolved config and ends the program, ``--help`` lists all keys.
    Mistakes end the program with a message.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=_list_keys(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("config", type=Path, help="the recipe's TOML")
    parser.add_argument("--print-config", action="store_true", help="print the result and exit")
    args, overrides = parser.parse_known_args(argv)
    try:
        config = load_config(args.config, overrides)
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    if args.print_config:
        print(to_toml(config), end="")
        sys.exit(0)
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """A config as nested plain values, which ``torch.load`` reads back without running code."""
    return {f.name: _plain(getattr(config, f.name)) for f in fields(config)}


def from_dict(values: Mapping[str, Any]) -> RunConfig:
    """The inverse of ``to_dict``.

    Raises:
        ConfigError: On a key that this version does not know.
    """
    try:
        return _build(RunConfig, _parse(RunConfig, values, None, "the stored config"))
    except UnknownKeyError as error:
        raise UnknownKeyError(
            f"{error}. Was it written by a newer version of zipformer? Then install that one"
        ) from None


def to_toml(config: RunConfig) -> str:
    """The config as TOML; reading it gives an equal config."""
    return "\n".join(_toml_lines(to_dict(config), "")).lstrip("\n") + "\n"


# Types


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _is_optional(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


def _inner(kind: Any) -> Any:
    """X of X | None."""
    if not _is_optional(kind):
        return kind
    return next(a for a in get_args(kind) if a is not type(None))


def _show(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(str(a) for a in get_args(kind))
    if get_origin(kind) is tuple:
        return "list of " + _show(get_args(kind)[0])
    if get_origin(kind) is dict:
        return "table of " + _show(get_args(kind)[1])
    if _is_optional(kind):
        return _show(_inner(kind)) + " or none"
    return {bool: "true|false", int: "integer", float: "number", str: "text", Path: "path"}.get(
        kind, str(kind)
    )


# Values of a TOML, or of a checkpoint


def _parse(cls: type, values: Mapping[str, Any], base: Path | None, where: str) -> dict[str, Any]:
    """Checks and converts a table; dataclasses inside stay tables until ``_build``.

    Paths are relative to ``base``, or stay as they are if it is None.
    """
    hints: dict[str, Any] = _hints(cls)
    found: dict[str, Any] = {}
    for written, value in values.items():
        key = written.replace("-", "_")
        if key in found:
            raise ConfigError(f"{where}: {key!r} stands there twice, with - and with _")
        if cls is ZipformerConfig and key == "preset":
            found[key] = _checked_preset(value, where)
            continue
        if key not in hints:
            elsewhere = [name for name, _, _ in _leaves() if name.rsplit(".", 1)[-1] == key]
            hint = _suggest(key, _key_names(cls))
            hint = f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else hint
            raise UnknownKeyError(f"{where}: unknown key {written!r}{hint}")
        found[key] = _convert(hints[key], value, base, f"{where}: {key}")
    return found


def _key_names(cls: type) -> list[str]:
    return [*_hints(cls), *(["preset"] if cls is ZipformerConfig else [])]


def _convert(kind: Any, value: Any, base: Path | None, where: str) -> Any:
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a table", value)
        return _parse(typing.cast(type, kind), value, base, where)
    if _is_optional(kind):
        return None if value in (None, "") else _convert(_inner(kind), value, base, where)
    origin = get_origin(kind)
    if origin is tuple:
        return _convert_list(kind, value, base, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(where, "a table", value)
        inner = get_args(kind)[1]
        return {k: _convert(inner, v, base, f"{where}.{k}") for k, v in value.items()}
    return _convert_plain(kind, value, base, where)


def _convert_list(kind: Any, value: Any, base: Path | None, where: str) -> tuple[Any, ...]:
    arguments = get_args(kind)
    if not isinstance(value, list | tuple):
        raise _wrong(where, "a list", value)
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise _wrong(where, f"a list of {len(arguments)}", value)
    return tuple(_convert(arguments[0], v, base, where) for v in value)


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
        raise _wrong(where, _show(kind), value)
    return value


def _absolute(path: Path, base: Path) -> Path:
    return (base / path.expanduser()).resolve()


def _with_absolute_paths(value: Any, base: Path) -> Any:
    """The same config, its relative paths (those are defaults) resolved against ``base``."""
    if isinstance(value, Path):
        return _absolute(value, base)
    if isinstance(value, tuple):
        return tuple(_with_absolute_paths(v, base) for v in value)
    if isinstance(value, dict):
        return {k: _with_absolute_paths(v, base) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: _with_absolute_paths(getattr(value, f.name), base) for f in fields(value)}
        return type(value)(**found)
    return value


def _checked_preset(value: Any, where: str) -> str:
    if value not in PRESETS:
        raise ConfigError(f"{where}: preset {value!r} is none of {', '.join(PRESETS)}")
    return value


def _wrong(where: str, wanted: str, value: Any) -> ConfigError:
    return ConfigError(f"{where} must be {wanted}, got {value!r}")


def _suggest(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(known)}"


def _build(cls: type, values: Mapping[str, Any]) -> Any:
    """Makes a dataclass, and those inside it, from a checked table."""
    hints, values = _hints(cls), dict(values)
    for name, kind in hints.items():
        if name in values and is_dataclass(kind):
            values[name] = _build(typing.cast(type, kind), values[name])
    if cls is ZipformerConfig and "preset" in values:
        return PRESETS[values.pop("preset")](**values)
    return cls(**values)


# Words of a command line


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """("chunk", ["32", "64"]) from --chunk 32 64; ("seed", ["1"]) from --seed=1."""
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if not word.startswith("--"):
            raise ConfigError(f"{word!r}: options are written --key value")
        key, equals, text = word[2:].partition("=")
        values = [text] if equals else []
        while remaining and not remaining[0].startswith("--"):
            values.append(remaining.pop(0))
        if not values:
            raise ConfigError(f"{word} needs a value")
        yield key, values


def _leaves(cls: type = RunConfig, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, type, default) of everything that can be set."""
    if cls is ZipformerConfig:
        yield f"{prefix}preset", Literal[tuple(PRESETS)], None
    hints = _hints(cls)
    for f in fields(cls):
        kind = hints[f.name]
        if is_dataclass(kind):
            yield from _leaves(typing.cast(type, kind), f"{prefix}{f.name}.")
        else:
            default = f.default if f.default_factory is MISSING else f.default_factory()
            yield prefix + f.name, kind, default


def _find(key: str) -> tuple[list[str], str, Any]:
    """The section, name and type that a command-line key means."""
    wanted = key.replace("-", "_")
    leaves = {name: kind for name, kind, _ in _leaves()}
    matches = [n for n in leaves if n == wanted or n.endswith("." + wanted)]
    if wanted in leaves:
        matches = [wanted]
    if not matches:
        known = [*leaves, *(n.rsplit(".", 1)[-1] for n in leaves)]
        raise UnknownKeyError(f"--{key}: unknown key{_suggest(wanted, known)}")
    if len(matches) > 1:
        options = " or ".join("--" + m.replace("_", "-") for m in matches)
        raise ConfigError(f"--{key} is ambiguous: write {options}")
    *section, name = matches[0].split(".")
    return section, name, leaves[matches[0]]


def _from_words(kind: Any, words: Sequence[str], where: str) -> Any:
    """A value as it is typed: lists and tables in several words, or separated by commas."""
    origin = get_origin(kind)
    if origin not in (dict, tuple):
        if len(words) > 1:
            raise ConfigError(f"{where} takes one value, got {' '.join(words)}")
        return _from_text(kind, words[0], where)
    inner = get_args(kind)[1 if origin is dict else 0]
    parts = [part.strip() for word in words for part in word.split(",") if part.strip()]
    if origin is dict:
        items = [part.partition("=") for part in parts]
        if not all(equals for _, equals, _ in items):
            raise ConfigError(f"{where}: write name=value, several separated by commas")
        return {name: _from_text(inner, v, where) for name, _, v in items}
    if inner is not Path:  # whose name may have blanks
        parts = [piece for part in parts for piece in part.split()]
    return _convert(kind, [_from_text(inner, part, where) for part in parts], Path.cwd(), where)


def _from_text(kind: Any, text: str, where: str) -> Any:
    if _is_optional(kind):
        return None if text in ("", "none") else _from_text(_inner(kind), text, where)
    value = text.strip()
    if kind in (bool, int, float):
        try:
            value = json.loads(value.lower() if kind is bool else value)
        except json.JSONDecodeError:
            raise _wrong(where, _show(kind), text) from None
    return _convert(kind, value, Path.cwd(), where)


def _merge(values: dict[str, Any], section: list[str], name: str, parsed: Any) -> None:
    for part in section:
        values = values.setdefault(part, {})
    values[name] = parsed


def _list_keys() -> str:
    lines = ["keys (leave out the section where the name is unique):"]
    for name, kind, default in _leaves():
        shown = "" if default is None else f" [{_toml_value(_plain(default))}]"
        lines.append(f"  --{name.replace('_', '-')}  {_show(kind)}{shown}")
    return "\n".join(lines).replace("%", "%%")


# Writing


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _toml_lines(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{_toml_key(key)} = {_toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            name = f"{prefix}{_toml_key(key)}"
            yield ""
            yield f"[{name}]"
            yield from _toml_lines(value, name + ".")


def _toml_key(key: str) -> str:
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else _toml_text(key)


def _toml_text(text: str) -> str:
    # What JSON may leave as it is and TOML may not: the delete character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_value(value: Any) -> str:
    if value is None:
        return '""'  # TOML has no null; an empty text means none where none is allowed
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return repr(value)
