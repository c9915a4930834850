"""The digits recipe runs from end to end, stopped and resumed in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zipformer.config.command_line import load_config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "recipes" / "digits" / "unified.toml"
SIXTH = {"dims": 32, "unmasked-dims": 32, "feedforward-dims": 48, "num-heads": 2}  # per stack
SMALL = [part for key, size in SIXTH.items() for part in (f"--{key}", ",".join([str(size)] * 6))]

pytestmark = pytest.mark.slow


def run(*command: str | Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(c) for c in command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    sizes = "--num-train 60 --num-short 30 --num-dev 4 --num-test 8 --num-noise 4".split()
    sizes += ["--speed-factors", "1.0"]
    run(ROOT / "recipes/digits/prepare.sh", "--data-dir", folder, *sizes)
    return folder


@pytest.fixture(scope="module")
def exp(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("exp") / "smoke"
    fbank = data / "fbank"
    options = {
        "exp-dir": exp,
        "data.train": fbank / "digits_cuts_train.jsonl.gz",
        "valid": fbank / "digits_cuts_dev.jsonl.gz",
        "test": f"clean={fbank}/digits_cuts_test.jsonl.gz",
        "bpe-model": data / "lang_bpe" / "bpe.model",
        "noise": fbank / "digits_cuts_noise.jsonl.gz",
        "num-epochs": "2",
        "average-every": "2",
        "wer-cuts": "2",
        "log-every": "5",
        "num-workers": "0",
    }
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    train = [sys.executable, "scripts/train.py", CONFIG, *SMALL, *flags]
    run(*train, "--max-steps", "6")
    run(*train)  # goes on where the first run stopped
    return exp


def test_loss_falls(exp: Path) -> None:
    records = [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]
    losses = [r["loss"] for r in records if r["kind"] == "train"]
    assert len(losses) >= 3
    assert losses[-1] < 0.5 * losses[0]


def test_words_are_scored_at_every_context(exp: Path) -> None:
    contexts = ["full", "32/128/0", "32/128/64"]
    run(sys.executable, "scripts/decode.py", exp, "--contexts", " ".join(contexts))
    table = run(sys.executable, "scripts/compare.py", exp)
    results = [json.loads(p.read_text()) for p in exp.glob("decode/*/wer.json")]
    assert {r["context"] for r in results} == set(contexts)
    assert all(0 <= r["wer"] <= 100 for r in results)
    assert all(context in table for context in contexts)
    assert (exp.parent / "compare.html").exists()


def test_files_are_transcribed(exp: Path, data: Path) -> None:
    audio = next(data.glob("audio/test/*.flac"))
    out = run(sys.executable, "scripts/transcribe.py", exp, audio, "--right", "64", "--json")
    assert audio.name in out


def test_every_recipe_config_loads() -> None:
    configs = sorted(ROOT.glob("recipes/*/*.toml"))
    assert configs
    for config in configs:
        load_config(config)


def test_a_study_trains_decodes_and_compares(data: Path, tmp_path: Path) -> None:
    """The smoke study, on this small corpus; a second time nothing is left to do."""
    text = (ROOT / "recipes/digits/studies/smoke.toml").read_text()
    fbank = data / "fbank"
    options = {
        "data.train": [str(fbank / "digits_cuts_train.jsonl.gz")],
        "data.valid": [str(fbank / "digits_cuts_dev.jsonl.gz")],
        "data.test": f"clean={fbank}/digits_cuts_test.jsonl.gz",
        "data.bpe_model": str(data / "lang_bpe" / "bpe.model"),
        "data.noise": str(fbank / "digits_cuts_noise.jsonl.gz"),
        "data.num_workers": 0,
    }
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in options.items()]
    text = text.replace("[options]", "\n".join(["[options]", *lines]))
    study = tmp_path / "smoke.toml"
    study.write_text(text.replace('"../', f'"{ROOT}/recipes/digits/'))
    command = [sys.executable, "scripts/study.py", study, "--exp-dir", tmp_path / "exp"]
    printed = run(*command, "--jobs", "2")
    assert printed.count("| 1 of 1 |") == 2 * 3
    assert len((tmp_path / "exp" / "results.csv").read_text().splitlines()) == 1 + 2 * 3
    assert "<figure" in (tmp_path / "exp" / "index.html").read_text()
    again = run(*command)
    assert "training" not in again.split("set clean")[0] and "| 1 of 1 |" in again
