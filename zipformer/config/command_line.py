"""Reads a run's config: defaults, then one TOML, then the command line; strict at every step."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args, get_origin

from zipformer.config import RunConfig
from zipformer.config.reading import (
    UnknownKeyError,
    build,
    check_table,
    convert,
    suggest,
    with_absolute_paths,
    wrong_type,
)
from zipformer.config.schema import (
    KIND,
    ConfigError,
    FieldType,
    entry_type,
    inner_type,
    is_optional,
    leaves,
    sections_with_kinds,
    show_type,
    values_of,
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
    values: dict[str, object] = {}
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
        values = check_table(RunConfig, values, str(toml))
    for key, words in pairs:
        name, field_type = _find(key, values)
        found = _from_words(field_type, words, f"--{key}")
        _set(values, name, with_absolute_paths(found, Path.cwd()))
    # Default paths are meant as if the TOML had them.
    base = Path.cwd() if toml is None else Path(toml).resolve().parent
    config = with_absolute_paths(build(RunConfig, values), base)
    assert isinstance(config, RunConfig)
    return config


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


def _choose_kinds(values: dict[str, object], pairs: Sequence[tuple[str, list[str]]]) -> None:
    """Writes kinds of the command line into the TOML's table: they decide which keys fit."""
    kinds = {f"{section}.{KIND}": section for section in sections_with_kinds()}
    for key, words in pairs:
        section = kinds.get(key.replace("-", "_"))
        table = values.setdefault(section, {}) if section else None
        if isinstance(table, dict):
            table[KIND] = words[0]


def _find(key: str, values: Mapping[str, object]) -> tuple[str, FieldType]:
    """The dotted name and the type of a command-line key in a config with these values."""
    wanted = key.replace("-", "_")
    known = {name: field_type for name, field_type, _ in leaves(values=values)}
    if wanted in known:
        return wanted, known[wanted]
    matches = [name for name in known if name.endswith("." + wanted)]
    if not matches:
        names = [*known, *(name.rsplit(".", 1)[-1] for name in known)]
        raise UnknownKeyError(f"--{key}: unknown key{suggest(wanted, names)}")
    if len(matches) > 1:
        options = " or ".join("--" + match.replace("_", "-") for match in matches)
        raise ConfigError(f"--{key} is ambiguous: write {options}")
    return matches[0], known[matches[0]]


def _from_words(field_type: FieldType, words: Sequence[str], where: str) -> object:
    """A value as it is typed: lists and tables in several words, or separated by commas."""
    origin = get_origin(field_type)
    if origin not in (dict, tuple):
        if len(words) > 1:
            raise ConfigError(f"{where} takes one value, got {' '.join(words)}")
        return _from_text(field_type, words[0], where)
    inner = get_args(field_type)[1 if origin is dict else 0]
    tables = entry_type(field_type) is not None  # a word in braces is one of them
    parts = [
        part.strip()
        for word in words
        for part in ([word] if tables and word.lstrip().startswith("{") else word.split(","))
        if part.strip()
    ]
    if origin is dict:
        items = [part.partition("=") for part in parts]
        if not all(equals for _, equals, _ in items):
            raise ConfigError(f"{where}: write name=value, several separated by commas")
        return {name: _from_text(inner, text, where) for name, _, text in items}
    if inner is not Path and not tables:  # names of files may have blanks
        parts = [piece for part in parts for piece in part.split()]
    return convert(field_type, [_from_text(inner, part, where) for part in parts], where)


def _from_text(field_type: FieldType, text: str, where: str) -> object:
    if is_optional(field_type):
        return None if text in ("", "none") else _from_text(inner_type(field_type), text, where)
    value = text.strip()
    if entry_type(field_type):
        return convert(field_type, _inline_table(value, where), where)
    if values_of(field_type):
        with suppress(json.JSONDecodeError):  # a text stays one
            value = json.loads(value)
    if field_type in (bool, int, float):
        try:
            value = json.loads(value.lower() if field_type is bool else value)
        except json.JSONDecodeError:
            raise wrong_type(where, show_type(field_type), text) from None
    return convert(field_type, value, where)


def _inline_table(text: str, where: str) -> object:
    """A table as a TOML has it, if a text is in braces; else the text."""
    if not text.startswith("{"):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{where}: {text}: {error}; a table is written as in a TOML, the whole of it quoted: "
            "'{path = \"b.jsonl.gz\", weight = 3.0}'"
        ) from None


def _set(values: dict[str, object], name: str, value: object) -> None:
    """Writes a value into nested tables: "train.seed" into that of "train"."""
    *sections, key = name.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        assert isinstance(inner, dict)  # checked, or made here
        values = inner
    values[key] = value


def _key_lines(values: Mapping[str, object]) -> Iterator[str]:
    for name, field_type, default in leaves(values=values):
        shown = "" if default is None else f" [{toml_value(plain(default))}]"
        yield f"  --{name.replace('_', '-')}  {show_type(field_type)}{shown}"


def _list_keys() -> str:
    lines = ["keys (leave out the section where the name is unique):", *_key_lines({})]
    for section, kinds in sections_with_kinds().items():
        for kind in list(kinds)[1:]:
            lines.append(f"keys of {section} with --{section}.{KIND} {kind}:")
            found = _key_lines({section: {KIND: kind}})
            lines += [line for line in found if line.startswith(f"  --{section}.")]
    return "\n".join(lines).replace("%", "%%")
