"""Whole training steps on a CUDA device that computes nothing: what belongs where, and how much."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.dev import cuda_guard

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(bool(cuda_guard.missing()), reason=cuda_guard.missing())

EVERYTHING = """
import json
import sys
from dataclasses import replace
from scripts.dev.fake_cuda.step import Load, count_step
from scripts.dev.count_step import config_of
from training.tiny_corpus import ENCODER
from zipformer.config import MethodConfig
from zipformer.context import Context

ALL = ["transducer", "ctc", "attention_decoder"]
METHODS = {
    "sampled": {},
    "dual": {"distill": 0.1, "distill_shift": 2, "ctc_consistency": 0.1},
    "multi_decoder": {"encoder_similarity": 0.1, "decoder_similarity": 0.1},
    "cr_ctc": {"ctc_consistency": 0.2},
}
LOAD = Load(seconds=6, longest=2, steps=1, every_branch=True)
found = {}


def look(name, config, precision):
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    small = replace(config.model, aed_layers=1, aed_dim=16, aed_heads=2, aed_feedforward_dim=16)
    config = replace(config, model=small)
    counted = count_step(config, precision, LOAD)
    found[name] = {"waits": dict(counted.waits), "unexpected": dict(counted.unexpected_waits)}


for text, mode in (("full", "masked"), ("32/64/0", "masked"), ("32/64/64", "windowed")):
    config = config_of(ENCODER, MethodConfig(), ALL, Context.parse(text), mode)
    look(f"single {text} {mode}", config, "bf16")
for precision in ("fp32", "fp16"):
    config = config_of(ENCODER, MethodConfig(), ALL, Context(32, 64, 64), "masked")
    look(f"single {precision}", config, precision)
for heads in (["transducer"], ["ctc"]):
    config = config_of(ENCODER, MethodConfig(), heads, Context(32, 64, 64), "masked")
    look(f"single {heads}", config, "bf16")
for kind, settings in METHODS.items():
    method = MethodConfig(kind=kind, **settings)
    look(kind, config_of(ENCODER, method, ALL, Context(32, 64, 64), "masked"), "bf16")
method = MethodConfig(kind="dual", consistency=0.1)
look("consistency", config_of(ENCODER, method, ["transducer"], Context(32, 64), "masked"), "fp16")
print(json.dumps(found))
"""
# One look at the loss and the norm of the gradients, one at the whitening, one at the norm that
# clips, and torch's own inside its CTC loss.
WAITS = {
    "zipformer/training/step.py item",
    "zipformer/nn/regularizers.py tolist",
    "zipformer/optim/scaled_adam.py item",
    "zipformer/losses/ctc.py copy cuda to cpu",  # torch asks whether cuDNN could do it
    "zipformer/losses/ctc.py ctc_loss",
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def without_line(wait: str) -> str:
    """``file:line kind`` -> ``file kind``."""
    place, _, kind = wait.partition(" ")
    return f"{place.partition(':')[0]} {kind}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "count"),
    [
        (["single 32/64/64 windowed", "dual"], 2),
        # Every method, every head, every number format and kind of context.
        pytest.param([], 12, marks=pytest.mark.long),
    ],
    ids=["some", "all"],
)
def test_nothing_of_the_cpu_meets_the_device_and_few_waits_are_all(
    names: list[str], count: int
) -> None:
    completed = run("-c", EVERYTHING, *names)
    assert completed.returncode == 0, completed.stderr[-3000:]
    found: dict[str, Any] = json.loads(completed.stdout)
    assert len(found) == count
    for name, waits in found.items():
        assert not waits["unexpected"], name
        assert {without_line(wait) for wait in waits["waits"]} <= WAITS, name
        most = (
            2 if name in ("dual", "multi_decoder", "cr_ctc") else 1
        )  # two encodings have two CTC losses
        assert max(waits["waits"].values()) <= most, name
    assert set().union(*({without_line(w) for w in f["waits"]} for f in found.values())) == WAITS


BROKEN = """
from scripts.dev.fake_cuda.step import Load, count_step
from scripts.dev.count_step import config_of
from training.tiny_corpus import ENCODER
from zipformer import masks
from zipformer.config import MethodConfig
from zipformer.context import Context

right = masks.{function}
masks.{function} = lambda *args, **kwargs: right(*args, **kwargs).cpu()
config = config_of(ENCODER, MethodConfig(), ["transducer"], Context({context}), "masked")
count_step(config, "bf16", Load(seconds=4, longest=2, steps=1))
"""


@pytest.mark.slow
def test_a_mask_on_the_cpu_is_found() -> None:
    completed = run("-c", BROKEN.format(function="valid_frames", context="32, 64, 64"))
    assert completed.returncode != 0
    assert "cpu" in completed.stderr and "cuda:0" in completed.stderr, completed.stderr[-2000:]


@pytest.mark.long
def test_a_step_of_the_medium_model_keeps_within_its_bounds() -> None:
    """Ten minutes of audio in bfloat16: what docs/benchmarks.md says, and a little more."""
    completed = run("scripts/dev/bench_step.py", "--count", "--json")
    assert completed.returncode == 0, completed.stderr[-3000:]
    found = json.loads(completed.stdout.splitlines()[-1])
    assert 5_000 < found["kernels"] < 13_600
    assert 6.0 < found["peak_gib"] < 12.5
    assert {without_line(wait) for wait in found["waits"]} <= WAITS
    assert not found["unexpected_waits"]
