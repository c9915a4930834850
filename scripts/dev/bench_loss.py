#!/usr/bin/env python3
"""How long the transducer losses take, forward and backward, and how much memory.

    python scripts/dev/bench_loss.py [--json] [--quick] [--device cuda]
    python scripts/dev/bench_loss.py --against reference k2 torchaudio

Smoothed: from scores am (B, T, V) and lm (B, U + 1, V) to their gradients. Pruned: from projected
encoder and predictor outputs (512 channels) through joiner and loss to the gradients of both and
of the joiner's weights. Inputs are random, all utterances full. ``unit`` is one matrix product on
the same device (see ``measure.py``). ``--against`` adds the same cases by the plain formulas of
this package, by k2, and by torchaudio's loss over the whole lattice (its logits are given), where
they are installed, with their time relative to ours.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import measure
from zipformer import ops
from zipformer.losses import transducer_backend
from zipformer.losses.checks import Backend
from zipformer.ops.memory import keep_freed_memory

SIZES = ((8, 250, 60, 500), (8, 250, 60, 5000), (30, 400, 100, 500))  # B, T, U, V
PRUNE_RANGE = 5
Size = tuple[int, int, int, int]
Work = Callable[[], None]
Prepare = Callable[[Size, torch.device, Backend], Work]
JOINER = 512


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("--against", nargs="*", default=[], choices=sorted(OTHERS))
    given = parser.parse_args()
    keep_freed_memory()  # as training does
    bench = measure.start(given)
    sizes = SIZES[:1] if given.quick else SIZES
    for kind, prepare in (("smoothed", smoothed), ("pruned joiner", pruned)):
        for size in sizes:
            b, t, u, v = size
            name = f"{kind}, B {b} T {t} U {u} V {v}"
            ours = bench.run(name, prepare(size, given.device, "torch"))
            for other in given.against:
                try:
                    work = OTHERS[other](prepare, size, given.device)
                except (ImportError, OSError) as error:
                    print(f"{other}: not here ({error})", file=sys.stderr)
                    continue
                timing = bench.run(f"{name}, {other}", work)
                timing.more["times ours"] = round(timing.units / ours.units, 2)
    bench.print(given.json)


def targets(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    b, t, u, v = size
    symbols = torch.randint(1, v, (b, u), device=device)
    return symbols, torch.tensor([[0, 0, u, t]] * b, device=device)


def smoothed(size: Size, device: torch.device, backend: Backend) -> Work:
    losses = transducer_backend(backend)
    b, t, u, v = size
    symbols, boundary = targets(size, device)
    am = torch.randn(b, t, v, device=device, requires_grad=True)
    lm = torch.randn(b, u + 1, v, device=device, requires_grad=True)

    def run() -> None:
        am.grad = lm.grad = None
        loss, _ = losses.smoothed_transducer_loss(
            am, lm, symbols, boundary, 0.25, 0.0, return_grad=True
        )
        loss.sum().backward()

    return run


def pruned(size: Size, device: torch.device, backend: Backend) -> Work:
    losses = transducer_backend(backend)
    b, t, u, v = size
    symbols, boundary = targets(size, device)
    begin = torch.linspace(0, u + 1 - PRUNE_RANGE, t).round().long()
    ranges = (begin[:, None] + torch.arange(PRUNE_RANGE)).expand(b, -1, -1).to(device)
    am = torch.randn(b, t, JOINER, device=device, requires_grad=True)
    lm = torch.randn(b, u + 1, JOINER, device=device, requires_grad=True)
    output = torch.nn.Linear(JOINER, v, device=device)
    inputs = [am, lm, *output.parameters()]

    def run() -> None:
        for x in inputs:
            x.grad = None
        loss = losses.pruned_joiner_loss(am, lm, output, symbols, ranges, boundary, reduction="sum")
        loss.backward()

    return run


def reference(prepare: Prepare, size: Size, device: torch.device) -> Work:
    work = prepare(size, device, "torch")

    def run() -> None:
        with ops.use("reference"):
            work()

    return run


def torchaudio(prepare: Prepare, size: Size, device: torch.device) -> Work:
    functional = importlib.import_module("torchaudio.functional")
    b, t, u, v = size
    symbols, boundary = targets(size, device)
    logits = torch.randn(b, t, u + 1, v, device=device, requires_grad=True)
    lengths, tokens = boundary[:, 3].int(), boundary[:, 2].int()

    def run() -> None:
        logits.grad = None
        functional.rnnt_loss(logits, symbols.int(), lengths, tokens, blank=0).backward()

    return run


def k2(prepare: Prepare, size: Size, device: torch.device) -> Work:
    return prepare(size, device, "k2")


OTHERS = {"reference": reference, "torchaudio": torchaudio, "k2": k2}

if __name__ == "__main__":
    main()
