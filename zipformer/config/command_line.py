"""Reads a run's config: defaults, then one TOML, then the command line; strict at every step."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from zipformer.config import RunConfig
from zipformer.config.schema import (
    KIND,
    ConfigError,
    UnknownKeyError,
    build,
    choices,
    convert,
    inner_type,
    is_optional,
    leaves,
    parse_table,
    show_type,
    suggest,
    with_absolute_paths,
    wrong_type,
)
from zipformer.config.toml import plain, to_toml, toml_value


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
    pairs = list(_pairs(overrides))
    _choose_kinds(values, pairs)
    if toml is not None:
        values = parse_table(RunConfig, values, Path(toml).resolve().parent, str(toml))
    for key, words in pairs:
        section, name, kind = _find(key, values)
        parsed = _from_words(kind, words, f"--{key}")
        _merge(values, section, name, parsed)
    # Default paths are meant as if the TOML had them.
    base = Path.cwd() if toml is None else Path(toml).resolve().parent
    return with_absolute_paths(build(RunConfig, values), base)


def parse_args(
    argv: Sequence[str], description: str | None = None, prog: str | None = None
) -> RunConfig:
    """The command line of training: a TOML, and ``--key value`` for anything in it.

    ``--print-config`` prints the resolved config and ends the program, ``--help`` lists all keys.
    Mistakes end the program with a message.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
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


def _choose_kinds(values: dict[str, Any], pairs: Sequence[tuple[str, list[str]]]) -> None:
    """Writes kinds of the command line into the TOML's table: which keys it may have depends."""
    kinds = {f"{section}.{KIND}": section for section in choices()}
    for key, words in pairs:
        section = kinds.get(key.replace("-", "_"))
        if section is not None and isinstance(values.setdefault(section, {}), dict):
            values[section][KIND] = words[0]


def _find(key: str, values: Mapping[str, Any]) -> tuple[list[str], str, Any]:
    """The section, name and type that a command-line key means in a config with these values."""
    wanted = key.replace("-", "_")
    known = {name: kind for name, kind, _ in leaves(values=values)}
    matches = [n for n in known if n == wanted or n.endswith("." + wanted)]
    if wanted in known:
        matches = [wanted]
    if not matches:
        names = [*known, *(n.rsplit(".", 1)[-1] for n in known)]
        raise UnknownKeyError(f"--{key}: unknown key{suggest(wanted, names)}")
    if len(matches) > 1:
        options = " or ".join("--" + m.replace("_", "-") for m in matches)
        raise ConfigError(f"--{key} is ambiguous: write {options}")
    *section, name = matches[0].split(".")
    return section, name, known[matches[0]]


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
    return convert(kind, [_from_text(inner, part, where) for part in parts], Path.cwd(), where)


def _from_text(kind: Any, text: str, where: str) -> Any:
    if is_optional(kind):
        return None if text in ("", "none") else _from_text(inner_type(kind), text, where)
    value = text.strip()
    if kind in (bool, int, float):
        try:
            value = json.loads(value.lower() if kind is bool else value)
        except json.JSONDecodeError:
            raise wrong_type(where, show_type(kind), text) from None
    return convert(kind, value, Path.cwd(), where)


def _merge(values: dict[str, Any], section: list[str], name: str, parsed: Any) -> None:
    for part in section:
        values = values.setdefault(part, {})
    values[name] = parsed


def _key_lines(values: Mapping[str, Any]) -> Iterator[str]:
    for name, kind, default in leaves(values=values):
        shown = "" if default is None else f" [{toml_value(plain(default))}]"
        yield f"  --{name.replace('_', '-')}  {show_type(kind)}{shown}"


def _list_keys() -> str:
    lines = ["keys (leave out the section where the name is unique):", *_key_lines({})]
    for section, choice in choices().items():
        for kind in list(choice)[1:]:
            lines.append(f"keys of {section} with --{section}.{KIND} {kind}:")
            found = _key_lines({section: {KIND: kind}})
            lines += [line for line in found if line.startswith(f"  --{section}.")]
    return "\n".join(lines).replace("%", "%%")
