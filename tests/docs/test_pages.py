"""What the pages name is there: files, modules, links, options and keys; their examples run."""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import tomllib
from contextlib import redirect_stdout, suppress
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs.pages import ROOT, Page, expand, pages
from test_layering import FLOORS

from zipformer.config import RunConfig
from zipformer.config.reading import check_table
from zipformer.config.schema import ConfigError, leaves, sections_with_kinds
from zipformer.study.reading import read_study
from zipformer_cli import VERBS, run_verb

PAGES = {str(page.path.relative_to(ROOT)): page for page in pages()}
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))

FOLDERS = "zipformer|scripts|docs|recipes|local|tests"
PATH = re.compile(rf"(?<![\w./<-])(?:\./)?(?:{FOLDERS})/[\w./{{}},*<>-]*")
# What stands for a name, and what preparation makes.
NOT_THERE = re.compile(r"your|<|NAME|SET|^recipes/[\w*]+/data")
FILE = re.compile(r"[\w/-]+\.(?:py|sh|toml|md)")
NOT_OURS = {"config.toml", "streaming_decode.py"}  # written by runs; of another project
# Where a file may lie that a page names without its folder.
PLACES = ["", "zipformer", "scripts", "local", "local/lib", "recipes/digits", "recipes/librispeech"]
MODULE = re.compile(r"(?<![\w./-])zipformer(?:\.\w+)+")
KEY = re.compile(r"([a-z_]+(?:\.[a-z_]+)+)(?: = .*)?")
SETTING = re.compile(r"([a-z_]+) = (.+)")
# Options of torchrun and sherpa-onnx that pages explain.
OF_OTHERS = {"--max-restarts", "--end-tail-padding", "--right-padding", "--enable-endpoint"}


# Links and files


@pytest.mark.parametrize("name", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES.get(name, Page(ROOT / name))
    for link in page.links:
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.path if not file else page.path.parent / file
        assert target.exists(), link
        if anchor:
            assert anchor in Page(target).anchors, link


@each_page
def test_files_exist(page: Page) -> None:
    for match in PATH.findall(page.code):
        for path in expand(match.rstrip(".,")):
            if not NOT_THERE.search(path):
                assert list(ROOT.glob(path.rstrip("/"))), path


@each_page
def test_files_that_are_named_without_their_folder_exist(page: Page) -> None:
    for span in filter(FILE.fullmatch, page.spans):
        if span not in NOT_OURS and not NOT_THERE.search(span):
            places = [page.path.parent, *(ROOT / place for place in PLACES)]
            assert any((place / span).exists() for place in places), span


def test_every_page_of_the_folder_is_in_the_index_and_the_readme_leads_to_it() -> None:
    index = PAGES["docs/index.md"]
    linked = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    assert {page.path for page in PAGES.values()} - {ROOT / "docs/index.md"} <= linked
    assert "docs/index.md" in PAGES["README.md"].links


def test_the_tree_of_folders_has_the_rooms_of_the_package_from_the_top_floor_down() -> None:
    tree = tree_of_folders()
    rooms = dict.fromkeys(floor.split(".")[1] for floor in FLOORS[1:] if "__" not in floor)
    places = []
    for room in rooms:
        found = re.search(rf"^  (?:\w+\.py  )*{room}(?:/|\.py) ", tree, re.MULTILINE)
        assert found, room
        places.append(found.end())
    assert places == sorted(places)


def test_the_tree_of_folders_has_every_folder_with_a_phrase() -> None:
    tree = tree_of_folders()
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    top = {Path(p).parts[0] for p in listed.stdout.splitlines() if len(Path(p).parts) > 1}
    package = {path.parent.name for path in (ROOT / "zipformer").rglob("__init__.py")}
    for folder in {f for f in top if not f.startswith(".")} | package:
        assert re.search(rf"(^| ){folder}/ (?=.*\w)", tree, re.MULTILINE), folder


def tree_of_folders() -> str:
    """The block under "Where things are" in the page on the architecture."""
    (tree,) = [
        text for _, text in PAGES["docs/architecture.md"].blocks if text.startswith("zipformer/ ")
    ]
    return tree


# Modules and examples


@each_page
def test_modules_and_what_they_hold_exist(page: Page) -> None:
    names = set(MODULE.findall(page.code))
    for language, block in page.blocks:
        if language == "python":
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    names |= {f"{node.module}.{alias.name}" for alias in node.names}
    for name in names:
        pkgutil.resolve_name(name)


@pytest.mark.parametrize("name", ["README.md", "docs/streaming.md"])
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    silence = [np.zeros(4000, np.float32)] * 8
    names: dict[str, Any] = {
        "microphone": lambda: silence,
        "two_microphones": lambda: zip(silence, silence, strict=True),
    }
    blocks = [block for language, block in PAGES[name].blocks if language == "python"]
    assert blocks
    for block in blocks:
        with redirect_stdout(StringIO()):
            exec(block.replace("exp/digits/unified", "tests/assets/digits/model.pt"), names)


# Options and keys


@each_page
def test_options_of_commands_exist(page: Page) -> None:
    for command in page.commands:
        known = options_of(command.program, page.path.parent)
        for option in command.options:
            assert option in known or NOT_THERE.search(option), f"{command.program} {option}"


@each_page
def test_options_in_sentences_exist(page: Page) -> None:
    everywhere = OF_OTHERS | options_of("test.sh", ROOT) | options_of("demo.sh", ROOT)
    for verb in VERBS:
        everywhere |= options_of_verb(verb)
    for script in [
        *ROOT.glob("recipes/*/prepare.sh"),
        *ROOT.glob("local/*.py"),
        *ROOT.glob("scripts/dev/*.py"),
    ]:
        everywhere |= options_of(str(script.relative_to(ROOT)), ROOT)
    for span in page.spans:
        for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*", span):
            assert option in everywhere, option


@cache
def options_of(program: str, folder: Path) -> set[str]:
    """The options that a program has; ``prepare.sh`` alone is the one of the page's folder."""
    name = Path(program).name
    verb = name.removesuffix(".py").removeprefix("zipformer ").replace("_", "-")
    if program.startswith("zipformer ") or verb in VERBS:
        return options_of_verb(verb)
    if name == "demo.sh":
        return {"--train", "--serve"} | options_of_verb("train")
    if name == "test.sh":
        return {"--full"}
    path = next(p for p in (ROOT / program, folder / program) if p.exists())
    source = path.read_text(encoding="utf-8")
    if name == "prepare.sh":
        ((shared, words),) = re.findall(r'^parse_(corpus_)?options "([^"]*)"', source, re.MULTILINE)
        if shared:
            library = (ROOT / "local/lib/corpus.sh").read_text(encoding="utf-8")
            (common,) = re.findall(r'^  parse_options "([^"]+) \$1"', library, re.MULTILINE)
            words += f" {common}"
        words += " stage stop_stage force help"
        return {f"--{word.replace('_', '-')}" for word in words.split()}
    if path.parent.name == "dev":
        source += (ROOT / "scripts/dev/measure.py").read_text(encoding="utf-8")
    found = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', source))
    return found | options_of_verb("train") if name == "same_losses.py" else found


@cache
def options_of_verb(verb: str) -> set[str]:
    """As its help lists them; keys of training also by their last part, where that is unique."""
    printed = StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        run_verb(verb, ["--help"], verb)
    listed = set(re.findall(r"^  (?:-h, )?(--[\w.-]+)", printed.getvalue(), re.MULTILINE))
    assert "--help" in listed, verb
    last = [option.rsplit(".", 1)[-1] for option in listed if "." in option]
    return listed | {f"--{part}" for part in last if last.count(part) == 1}


@each_page
def test_keys_and_their_values_exist(page: Page) -> None:
    keys = all_keys()
    sections = {key.partition(".")[0] for key in keys}
    for span in page.spans:
        match = KEY.fullmatch(span)
        if match and match[1].partition(".")[0] in sections and not FILE.fullmatch(span):
            assert match[1] in keys, span
    for span in page.spans:
        match = SETTING.fullmatch(span)
        if match and is_toml(span) and not NOT_THERE.search(span):
            assert any(fits(key, match[2]) for key in keys if key.split(".")[-1] == match[1]), span


@each_page
def test_tables_of_toml_are_read(page: Page, tmp_path: Path) -> None:
    for language, block in page.blocks:
        assert language == "toml" or not re.match(r"\[\w+\]", block), block
        if language == "toml" and "[[runs]]" in block:
            study = tmp_path / "study.toml"
            study.write_text(block.replace('"../', f'"{ROOT}/recipes/digits/'))
            read_study(study)
        elif language == "toml":
            check_table(RunConfig, tomllib.loads(block), page.path.name)


def all_keys() -> set[str]:
    """Keys of a config by their dotted names, those of every kind included."""
    keys = {key for key, _, _ in leaves()}
    for section, kinds in sections_with_kinds().items():
        for kind in kinds:
            keys |= {key for key, _, _ in leaves(values={section: {"kind": kind}})}
    return keys


def fits(key: str, value: str) -> bool:
    """Whether a key may have this value, in an encoder of any kind."""
    for kind in sections_with_kinds()["encoder"]:
        table: dict[str, Any] = {"encoder": {"kind": kind}}
        *path, last = key.split(".")
        inner = table
        for section in path:
            inner = inner.setdefault(section, {})
        inner[last] = tomllib.loads(f"value = {value}")["value"]
        with suppress(ConfigError):
            check_table(RunConfig, table, "")
            return True
    return False


def is_toml(line: str) -> bool:
    """Whether it is a line of a TOML, and no formula."""
    with suppress(tomllib.TOMLDecodeError):
        tomllib.loads(line)
        return True
    return False
