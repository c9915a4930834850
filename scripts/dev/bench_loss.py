#!/usr/bin/env python3
"""How long the transducer losses take, forward and backward.

Prints milliseconds, and the same in units of one 2048 x 2048 float32 matrix product on the same
device, which makes machines comparable. Logits are random and already there: the joiner is not
measured. Every figure is the best of several rounds.

    python scripts/dev/bench_loss.py --batch 8 --frames 400 --tokens 80 --vocab 500
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from zipformer.losses import transducer_backend

TYPES = ("regular", "modified", "constrained")


def main() -> None:
    options = parse()
    device = torch.device(options.device)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    square = torch.randn(2048, 2048, device=device)
    unit = best(lambda: square @ square, options.rounds, device)
    print(f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"unit: one matrix product, {1000 * unit:.2f} ms")
    losses = transducer_backend(options.backend)
    b, t, u, v = options.batch, options.frames, options.tokens, options.vocab
    am = torch.randn(b, t, v, device=device, requires_grad=True)
    lm = torch.randn(b, u + 1, v, device=device, requires_grad=True)
    symbols = torch.randint(1, v, (b, u), device=device)
    boundary = torch.tensor([[0, 0, u, t]] * b, device=device)

    def smoothed() -> tuple[Tensor, Tensor]:
        loss, occupations = losses.smoothed_transducer_loss(
            am, lm, symbols, boundary, 0.25, 0.0, rnnt_type=options.type, return_grad=True
        )
        loss.sum().backward()
        return occupations

    px_grad, py_grad = smoothed()
    ranges = losses.prune_ranges(px_grad, py_grad, boundary, options.range)
    logits = torch.randn(*ranges.shape, v, device=device, requires_grad=True)

    def pruned() -> None:
        loss = losses.pruned_transducer_loss(
            logits, symbols, ranges, boundary, rnnt_type=options.type
        )
        loss.sum().backward()

    parts: dict[str, Callable[[], object]] = {
        "smoothed": smoothed,
        "ranges": lambda: losses.prune_ranges(px_grad, py_grad, boundary, options.range),
        "pruned": pruned,
    }
    for name, run in parts.items():
        seconds = best(run, options.rounds, device)
        print(f"{name:10s} {1000 * seconds:8.2f} ms {seconds / unit:8.2f} units")


def best(run: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Seconds of the fastest round, after one to warm up."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=400, help="encoder output frames, 25 Hz")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--vocab", type=int, default=500)
    parser.add_argument("--range", type=int, default=5, help="tokens kept at each frame")
    parser.add_argument("--type", choices=TYPES, default="regular")
    parser.add_argument("--backend", choices=("torch", "k2"), default="torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
