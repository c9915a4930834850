"""Reads a study file, strictly, and checks what can be known before anything is trained."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TypeVar

from zipformer.config.reading import build, check_table, convert, wrong_type
from zipformer.config.schema import ConfigError
from zipformer.config.toml import Plain, toml_value
from zipformer.context import parse_contexts
from zipformer.study.description import Decoding, Published, Run, Show, Study

Section = TypeVar("Section")  # a dataclass of ``zipformer.study.description``

# Keys that a study decides itself, for every run.
OWN_KEYS = {"train.exp_dir": "exp_dir", "train.seed": "seeds"}


def read_study(path: Path, exp_dir: Path | None = None) -> Study:
    """Reads a study file.

    Args:
        path: The file; paths in it are relative to its folder.
        exp_dir: In place of the folder that it names, ``exp/NAME`` by default, and of that of its
            runs.

    Raises:
        ConfigError: On an unknown key or a wrong value.
        ValueError: On a run without a config, two of one name, a context that an encoder cannot
            compute, a set that a config lacks.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such study") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    folder, where = path.resolve().parent, str(path)
    texts = {key: _text(values.pop(key, ""), f"{where}: {key}") for key in ("title", "note")}
    written = _folder(values.pop("exp_dir", ""), folder, f"{where}: exp_dir")
    shared = _folder(values.pop("runs_dir", ""), folder, f"{where}: runs_dir")
    page_dir = (exp_dir or written or Path("exp") / path.stem).resolve()
    common = _table(values.pop("options", {}), f"{where}: options")
    study = Study(
        name=path.stem,
        title=texts["title"] or path.stem,
        note=texts["note"],
        exp_dir=page_dir,
        runs_dir=page_dir if exp_dir or shared is None else shared,
        seeds=_seeds(values.pop("seeds", [42]), f"{where}: seeds"),
        runs=tuple(_runs(values.pop("runs", []), common, folder, where)),
        decode=_section(Decoding, values.pop("decode", {}), f"{where}: decode"),
        show=_section(Show, values.pop("show", {}), f"{where}: show"),
        published=tuple(
            _section(Published, table, f"{where}: published")
            for table in _tables(values.pop("published", []), f"{where}: published")
        ),
    )
    if values:
        known = "title, note, exp_dir, runs_dir, seeds, options, runs, decode, show, published"
        raise ConfigError(f"{where}: unknown key {next(iter(values))!r}; known: {known}")
    _check(study, where)
    return study


def _folder(value: object, beside: Path, where: str) -> Path | None:
    text = _text(value, where)
    return (beside / text).resolve() if text else None


def _check(study: Study, where: str) -> None:
    names = [run.name for run in study.runs]
    if not names:
        raise ValueError(f"{where}: a study needs at least one [[runs]] with name and config")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{where}: two runs are called {', '.join(twice)}")
    baseline = study.show.baseline
    if baseline and baseline not in names:
        raise ValueError(f"{where}: show.baseline {baseline!r} is no run; runs: {', '.join(names)}")
    for run in study.runs:
        config = study.config_of(run, study.seeds_of(run)[0])
        for context in parse_contexts(study.contexts_of(run)):
            try:
                config.encoder.check_context(context)
            except ValueError as error:
                raise ValueError(f"{where}: run {run.name}: {error}") from None
        if missing := [name for name in study.decode.sets if name not in config.data.test]:
            there = ", ".join(config.data.test) or "none"
            raise ValueError(
                f"{where}: run {run.name}: {run.config} has no test set {', '.join(missing)} in "
                f"data.test; it has: {there}"
            )


def _runs(tables: object, common: Mapping[str, object], folder: Path, where: str) -> Iterator[Run]:
    for number, table in enumerate(_tables(tables, f"{where}: runs"), start=1):
        here = f"{where}: runs, number {number}"
        own = _table(table.get("options", {}), f"{here}: options")
        options = {**_flat(common), **_flat(own)}
        for key in options:
            if key in OWN_KEYS:
                raise ConfigError(f"{here}: {key} is set by the study: write {OWN_KEYS[key]}")
        rest = {key: value for key, value in table.items() if key != "options"}
        run = _section(Run, rest, here)
        yield Run(
            name=_name(run.name, here),
            config=(folder / run.config).resolve(),
            options=tuple((key, tuple(_typed(value))) for key, value in options.items()),
            seeds=run.seeds,
            contexts=run.contexts,
            label=run.label or run.name,
        )


def _section(cls: type[Section], value: object, where: str) -> Section:
    table = check_table(cls, _table(value, where), where)
    needed = [name for name, p in signature(cls).parameters.items() if p.default is p.empty]
    if missing := [name for name in needed if name not in table]:
        raise ConfigError(f"{where} has no {' and no '.join(missing)}")
    return build(cls, table)


def _name(text: str, where: str) -> str:
    if not text or any(not (letter.isalnum() or letter in "._+") for letter in text):
        raise ConfigError(f"{where}: name {text!r}: use letters, digits and . _ +, for folders")
    return text


def _seeds(value: object, where: str) -> tuple[int, ...]:
    seeds = convert(tuple[int, ...], value, where)
    assert isinstance(seeds, tuple)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"{where}: one seed or several different ones, as in [42, 43]")
    return seeds


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(where, "text", value)
    return value


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise wrong_type(where, "a table", value)
    return value


def _tables(value: object, where: str) -> Sequence[Mapping[str, object]]:
    if not isinstance(value, list):
        raise wrong_type(where, "a list of tables", value)
    return [_table(item, where) for item in value]


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, Plain]:
    """Keys with dots, of tables within tables too."""
    found: dict[str, Plain] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            assert isinstance(value, bool | int | float | str | list), value
            found[prefix + key] = value
    return found


def _typed(value: Plain) -> list[str]:
    """A value as words of a command line."""
    if isinstance(value, list):
        return [word for item in value for word in _typed(item)]
    return [value if isinstance(value, str) else toml_value(value)]
