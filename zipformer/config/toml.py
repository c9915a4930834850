"""Writes a config down: as plain values, and as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from zipformer.config import RunConfig
from zipformer.nn.encoder_config import EncoderConfig

# What a TOML or a checkpoint keeps of a config.
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def to_dict(config: RunConfig | EncoderConfig) -> dict[str, Plain]:
    """A config as nested plain values, which ``torch.load`` reads back without running code."""
    return {f.name: plain(getattr(config, f.name)) for f in fields(config)}


def to_toml(config: RunConfig) -> str:
    """The config as TOML; reading it gives an equal config."""
    return "\n".join(_toml_lines(to_dict(config), "")).lstrip("\n") + "\n"


def plain(value: object) -> Plain:
    """A value as text, numbers, lists and tables."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    assert value is None or isinstance(value, bool | int | float | str), value
    return value


def _toml_lines(table: Mapping[str, Plain], prefix: str) -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(value, dict):
            yield f"{_toml_key(key)} = {toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
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


def toml_value(value: Plain) -> str:
    """A plain value as it is written in a TOML."""
    if value is None:
        return '""'  # TOML has no null; an empty text means none where none is allowed
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, dict):  # in a list; others are sections
        return "{" + ", ".join(f"{_toml_key(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    return repr(value)
