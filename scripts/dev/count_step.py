#!/usr/bin/env python3
"""What a GPU would do in a training step, counted without a GPU.

    python scripts/dev/count_step.py [--size medium] [--seconds 600] [--precision bf16] [--json]
        [--method dual] [--heads transducer,ctc] [--context 32/128/64 --right-mode windowed]

Runs the whole step (losses, backward pass, clipping, ScaledAdam) on tensors that have shapes, types
and devices and no numbers, and counts kernels, bytes that they read and write, the peak of memory,
and the places where the CPU waits for the device. A tensor of the CPU that meets one of the device
is an error, as it would be on a GPU. What cuDNN and cuBLAS need for themselves is not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev.fake_cuda.counter import StepCounter
from scripts.dev.fake_cuda.step import Load, count_step
from zipformer.config import (
    ContextConfig,
    DataConfig,
    LossConfig,
    MethodConfig,
    ModelConfig,
    RunConfig,
    SpecAugmentConfig,
)
from zipformer.context import Context
from zipformer.nn.streaming_encoder import RightMode
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.training.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
SIZES = ("small", "medium", "large")
TOKENIZER = ROOT / "tests" / "assets" / "digits" / "bpe.model"  # any: no text is looked at


def main() -> None:
    given = options().parse_args()
    encoder = getattr(ZipformerConfig, given.size)(causal=True)
    config = config_of(
        encoder,
        MethodConfig(kind=given.method),
        given.heads.split(","),
        given.context,
        given.right_mode,
    )
    load = Load(given.seconds, given.longest, given.vocab, given.steps, given.every_branch)
    counted = count_step(config, given.precision, load)
    if given.json:
        print(json.dumps(summary(counted)))
        return
    print(f"{given.size}, {given.seconds:g} s, {given.precision}, {given.method}, {given.context}")
    show(counted, given.top)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--size", default="medium", choices=SIZES)
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--method", default="single", choices=METHODS)
    parser.add_argument("--heads", default="transducer", help="of transducer,ctc,attention_decoder")
    parser.add_argument("--context", default=Context.full(), type=Context.parse)
    parser.add_argument("--right-mode", default="masked", choices=get_args(RightMode))
    parser.add_argument("--seconds", default=600.0, type=float, help="audio of the batch")
    parser.add_argument("--longest", default=15.0, type=float, help="seconds of an utterance")
    parser.add_argument("--vocab", default=500, type=int)
    parser.add_argument("--steps", default=2, type=int, help="the last is counted")
    parser.add_argument("--every-branch", action="store_true", help="all regularizers act")
    parser.add_argument("--top", default=15, type=int, help="operations to list")
    return parser


def config_of(
    encoder: ZipformerConfig,
    method: MethodConfig,
    heads: list[str],
    context: Context,
    right_mode: RightMode,
) -> RunConfig:
    """A run in which every step has the same context.

    Args:
        encoder: Of the model.
        method: The training method.
        heads: Keys of ``ModelConfig``.
        context: Of every step.
        right_mode: The same.
    """
    return RunConfig(
        encoder=encoder,
        model=ModelConfig(
            transducer="transducer" in heads,
            ctc="ctc" in heads,
            attention_decoder="attention_decoder" in heads,
        ),
        context=ContextConfig(
            chunk=(context.chunk,),
            left=(context.left,),
            right=(context.right,),
            right_mode=right_mode,
        ),
        loss=LossConfig(
            transducer_scale=float("transducer" in heads),
            ctc_scale=float("ctc" in heads),
            aed_scale=float("attention_decoder" in heads),
        ),
        method=method,
        data=DataConfig(
            bpe_model=TOKENIZER,
            spec_augment=SpecAugmentConfig(views=2 if method.kind == "cr_ctc" else 1),
        ),
    )


def summary(counted: StepCounter) -> dict[str, object]:
    """The figures of a step by name; ``waits`` by line, ``unexpected`` those not marked."""
    return {
        "kernels": counted.kernels.total(),
        "peak_gib": round(counted.peak / 2**30, 3),
        "waits": dict(counted.waits),
        "unexpected_waits": dict(counted.unexpected_waits),
        "gigabytes": round(counted.bytes.total() / 1e9, 2),
        "phases": {name: count for name, count in _by(counted.kernels, 0).most_common()},
    }


def show(counted: StepCounter, top: int) -> None:
    """Prints tables."""
    print(f"{'phase':12}{'kernels':>10}{'GB':>10}")
    by_phase, bytes_by_phase = _by(counted.kernels, 0), _by(counted.bytes, 0)
    for name, kernels in by_phase.items():
        print(f"{name:12}{kernels:10}{bytes_by_phase[name] / 1e9:10.2f}")
    print(f"{'all':12}{by_phase.total():10}{bytes_by_phase.total() / 1e9:10.2f}")
    print(
        f"peak of memory {counted.peak / 2**30:.2f} GiB, after the step {counted.now / 2**30:.2f}"
    )
    print("\nmost bytes")
    by_name = _by(counted.kernels, 1)
    for name, size in _by(counted.bytes, 1).most_common(top):
        print(f"  {name:44}{by_name[name]:8}{size / 1e9:10.2f} GB")
    for title, waits in (
        ("\nwaits", counted.waits),
        ("\nwaits that are not marked", counted.unexpected_waits),
    ):
        print(title if waits else f"{title}: none")
        for line, count in waits.most_common():
            print(f"  {count:5}  {line}")


def _by(counts: Counter[tuple[str, str]], axis: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for key, count in counts.items():
        found[key[axis]] += count
    return found


if __name__ == "__main__":
    main()
