#!/usr/bin/env python3
"""How long the transducer losses take, forward and backward, and how much memory.

    python scripts/dev/bench_loss.py [--json] [--quick] [--device cuda]
    ZIPFORMER_OPS=reference python scripts/dev/bench_loss.py     # the plain formulas
    python scripts/dev/bench_loss.py --backend k2                # where it is installed

Smoothed: from scores am (B, T, V) and lm (B, U + 1, V) to their gradients. Pruned: from projected
encoder and predictor outputs (512 channels) through joiner and loss to the gradients of both and
of the joiner's weights. Inputs are random, all utterances full. ``unit`` is one matrix product on
the same device (see ``measure.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import measure
from zipformer.losses import transducer_backend
from zipformer.losses.checks import Backend
from zipformer.ops.memory import keep_freed_memory

SIZES = ((8, 250, 60, 500), (8, 250, 60, 5000), (30, 400, 100, 500))  # B, T, U, V
PRUNE_RANGE = 5
JOINER = 512


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("--backend", choices=("torch", "k2"), default="torch")
    given = parser.parse_args()
    keep_freed_memory()  # as training does
    bench = measure.start(given)
    sizes = SIZES[:1] if given.quick else SIZES
    for kind, prepare in (("smoothed", smoothed), ("pruned joiner", pruned)):
        for size in sizes:
            b, t, u, v = size
            bench.run(
                f"{kind}, B {b} T {t} U {u} V {v}", prepare(size, given.device, given.backend)
            )
    bench.print(given.json)


def targets(size: tuple[int, int, int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    b, t, u, v = size
    symbols = torch.randint(1, v, (b, u), device=device)
    return symbols, torch.tensor([[0, 0, u, t]] * b, device=device)


def smoothed(
    size: tuple[int, int, int, int], device: torch.device, backend: Backend
) -> Callable[[], None]:
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


def pruned(
    size: tuple[int, int, int, int], device: torch.device, backend: Backend
) -> Callable[[], None]:
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


if __name__ == "__main__":
    main()
