"""A recipe from end to end on a corpus of a few spoken digits in the layout of the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from lhotse import CutSet
from recipes.prepared import prepare

from recipes.digits.segments import Segment, load_word, read_table
from zipformer.commands import decode, train

ROOT = Path(__file__).parents[2]
WORDS = "zero one two three four five six seven eight nine".split()
SPEAKERS = ("george", "jackson", "lucas", "theo")
# A tenth of the smallest published encoder.
TINY = {
    "encoder.preset": "small",
    "encoder.num_layers": "1,1,1,1,1,1",
    "encoder.dims": "32,32,32,32,32,32",
    "encoder.unmasked_dims": "32,32,32,32,32,32",
    "encoder.feedforward_dims": "48,48,48,48,48,48",
    "encoder.num_heads": "2,2,2,2,2,2",
    "encoder.frontend_channels": "4,8,8",
    "model.predictor_dim": "32",
    "model.joiner_dim": "32",
    "data.max_duration": "20",
    "data.num_workers": "0",
    "train.log_every": "1",
    "train.average_every": "2",
    "train.tensorboard": "false",
    "validation.wer_cuts": "2",
}


@dataclass(frozen=True)
class Spoken:
    """An utterance: its speaker, number, samples at 16 kHz, and the digits said."""

    speaker: str
    number: int
    samples: np.ndarray
    digits: list[int]


def spoken(count: int, speakers: tuple[str, ...] = SPEAKERS) -> Iterator[Spoken]:
    """So many utterances of four digits by each speaker."""
    rng = np.random.default_rng(0)
    pause = np.zeros(1600, np.float32)
    for speaker in speakers:
        for number in range(count):
            digits = rng.integers(0, 10, 4).tolist()
            words = [load_word(_segments()[speaker, WORDS[d]], 16000) for d in digits]
            samples = np.concatenate([part for word in words for part in (pause, word)])
            yield Spoken(speaker, number, samples, digits)


def write_opus(
    path: Path, speaker: str, text_of: Callable[[list[int]], str]
) -> list[tuple[float, float, str]]:
    """Writes six utterances of a speaker into one file; begin, end and text of each."""
    said, samples, at = [], [], 0.0
    for one in spoken(6, (speaker,)):
        samples.append(one.samples)
        end = at + len(one.samples) / 16000
        said.append((at, end, text_of(one.digits)))
        at = end
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(samples), 16000, format="OGG", subtype="OPUS")
    return said


@cache
def _segments() -> dict[tuple[str, str], Segment]:
    table = read_table(ROOT / "recipes/digits/fsdd/segments.tsv", WORDS)
    return {(segment.speaker, segment.word): segment for segment in table}


def train_and_decode(
    config: Path, exp_dir: Path, scripts: bool = True, **options: object
) -> list[dict[str, Any]]:
    """Some steps of a config with a tiny model; what decoding its test sets gives.

    Args:
        config: Of a recipe.
        exp_dir: Folder of the run.
        scripts: Through scripts/; else what these call, without two more starts of Python.
        options: Keys of the config.
    """
    given = {**TINY, **options, "train.exp_dir": exp_dir, "train.max_steps": 6}
    words = [part for key, value in given.items() for part in (f"--{key}", str(value))]
    wanted = [str(exp_dir), "--contexts", "full 32/128/64"]
    if scripts:
        call("train.py", config, *words)
        call("decode.py", *wanted)
    else:
        train.main([str(config), *words], "train.py")
        decode.main(wanted, "decode.py")
    results = [json.loads(path.read_text()) for path in exp_dir.glob("decode/*/wer.json")]
    assert len(results) >= 2
    return results


def call(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Chain:
    """What a recipe gave on its miniature, from ``prepare.sh`` to ``decode.py``."""

    printed: str
    data: Path
    results: list[dict[str, Any]]

    def texts(self, recipe: str, name: str) -> dict[str, str]:
        """Transcripts of a set by the ids of its cuts."""
        cuts = CutSet.from_file(self.data / "fbank" / f"{recipe}_cuts_{name}.jsonl.gz")
        return {cut.id: cut.supervisions[0].text for cut in cuts}


def run_recipe(
    recipe: str, corpus: Path, folder: Path, tokens: str, valid: str, test: str, *options: str
) -> Chain:
    """Prepares a miniature, takes some steps with the recipe's config, decodes its set ``test``.

    Args:
        recipe: Its name, which its manifests begin with.
        corpus: The miniature.
        folder: Where everything goes.
        tokens: The token set, in the folder of the data.
        valid: Set for validation.
        test: Set that is decoded.
        options: Of prepare.sh.
    """
    data = folder / "data"
    given = ["--corpus-dir", corpus, "--data-dir", data, "--num-jobs", "1", *options]
    printed = prepare(recipe, *given)
    manifests = {name: data / f"fbank/{recipe}_cuts_{name}.jsonl.gz" for name in (valid, test)}
    results = train_and_decode(
        ROOT / "recipes" / recipe / "medium.toml",
        folder / "exp",
        scripts=False,
        **{
            "data.train": data / f"fbank/{recipe}_cuts_train.jsonl.gz",
            "data.valid": manifests[valid],
            "data.test": f"{test}={manifests[test]}",
            "data.bpe_model": data / tokens,
        },
    )
    return Chain(printed, data, results)
