"""Unknown options name the nearest, and the options of every verb stay as they were."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands.calling import ROOT, Caller

from zipformer.commands.parser import VerbParser
from zipformer_cli import VERBS

FROZEN = json.loads((ROOT / "tests/assets/frozen/options.json").read_text())


def test_every_verb_has_its_frozen_options() -> None:
    assert list(FROZEN) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_options_of_before_are_still_there(call: Caller, tmp_path: Path, verb: str) -> None:
    done = call(verb, "--help", cwd=tmp_path)
    listed = re.findall(r"^  (?:-h, )?(--[\w.-]+|[a-z_]+)(?=[ \n])", done.stdout, re.M)
    assert done.status == 0 and set(FROZEN[verb]) <= set(listed), set(FROZEN[verb]) - set(listed)
    # What is new stands beside them; an option that is listed can be typed.
    assert done.stdout.startswith(f"usage: {verb}.py ")


@pytest.mark.parametrize(
    "verb,typed,nearest",
    [
        ("train", "--max-durations", "max_duration"),
        ("decode", "--context-sizes", "--contexts"),
        ("compare", "--htlm", "--html"),
        ("report", "--wrost", "--worst"),
        ("transcribe", "--srtt", "--srt"),
        ("export", "--ofline", "--offline"),
        ("serve", "--idletimeout", "--idle-timeout"),
        ("listen", "--rihgt", "--right"),
        ("latency", "--contxts", "--contexts"),
        ("loadtest", "--concurency", "--concurrency"),
        ("check-gpu", "--larget", "--largest"),
    ],
)
def test_an_unknown_option_of_any_verb_names_the_nearest(
    call: Caller, tmp_path: Path, verb: str, typed: str, nearest: str
) -> None:
    """Although what it was meant for may be missing too."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("")
    done = call(verb, recipe, typed, "3", cwd=tmp_path)
    assert done.status == 2 and done.stdout == ""
    last = done.stderr.splitlines()[-1]
    unknown = "unknown key" if verb == "train" else "unknown option"
    assert last.startswith(f"{verb}.py: error: {typed}: {unknown}; did you mean ")
    assert nearest in last


@pytest.fixture
def parser() -> VerbParser:
    parser = VerbParser("verb", "What it does.")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--right-mode")
    parser.add_argument("--right", type=int)
    return parser


def test_what_is_no_option_is_left_alone(parser: VerbParser) -> None:
    assert parser.read(["a", "--right", "-1"]).right == -1
    assert parser.read(["a", "--right=-1", "--right-m", "masked"]).right_mode == "masked"
    assert parser.read(["--right", "3", "--", "--a"]).files == ["--a"]
    assert parser.read(["a", "-- a.wav", "-"]).files == ["a", "-- a.wav", "-"]


@pytest.mark.parametrize("typed", ["-right", "--rigth=3"])
def test_one_dash_and_equals_signs_are_understood(
    parser: VerbParser, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    with pytest.raises(SystemExit):
        parser.read([typed, "3"])
    name = typed.partition("=")[0]
    assert f"verb: error: {name}: unknown option; did you mean --right" in capsys.readouterr().err
