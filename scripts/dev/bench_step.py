#!/usr/bin/env python3
"""How long a training step of frontend, encoder and optimizer takes, and how long inference.

    python scripts/dev/bench_step.py [--json] [--quick] [--device cuda --precision bf16]
    python scripts/dev/bench_step.py --count [--json]      (see count_step.py, which does it)

Regularizers are on, schedules at 20000 reference batches, context 32/128/0, features random, the
loss a sum. ``unit`` is one matrix product on the same device (see ``measure.py``).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import measure
from zipformer.context import Context
from zipformer.nn.regularizers import settle_whitening, whiteners
from zipformer.nn.schedule import set_progress
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.nn.zipformer.encoder import Encoder
from zipformer.ops.memory import keep_freed_memory
from zipformer.optim import ScaledAdam
from zipformer.training.precision import Precision

TOY = ZipformerConfig(
    num_layers=(1,) * 6,
    dims=(64, 96, 128, 128, 128, 96),
    unmasked_dims=(64, 96, 128, 128, 128, 96),
    num_heads=(4,) * 6,
    query_head_dim=(16,) * 6,
    feedforward_dims=(128, 192, 256, 256, 256, 192),
)
CONTEXT = Context(32, 128)
Work = Callable[[], None]


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--right-mode", default="masked", choices=("masked", "windowed"))
    parser.add_argument(
        "--count", action="store_true", help="kernels, memory and waits of M, 600 s, bf16; no GPU"
    )
    given = parser.parse_args()
    if given.count:  # in a process of its own: it has to be there before torch
        counting = Path(__file__).with_name("count_step.py")
        command = [sys.executable, str(counting), *(["--json"] if given.json else [])]
        sys.exit(subprocess.run(command, check=False).returncode)
    keep_freed_memory()
    bench = measure.start(given)
    precision = Precision("cuda" if given.device.type == "cuda" else "cpu", given.precision)
    small, medium = ZipformerConfig.small(), ZipformerConfig.medium()
    steps = {"toy 16 x 4 s": (TOY, 16, 4), "S 4 x 10 s": (small, 4, 10)}
    steps["M 4 x 10 s"] = (medium, 4, 10)
    for name, (config, batch, seconds) in list(steps.items())[: 1 if given.quick else None]:
        work = training_step(config, batch, seconds, given, precision)
        bench.run(f"training step, {name}", work)
    for name, (config, batch, seconds) in list(steps.items())[1 : 2 if given.quick else None]:
        work = inference(config, batch, seconds, given, precision)
        bench.run(f"inference, {name}", work)
    bench.print(given.json)


def batch_of(batch: int, seconds: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Features (B, T, 80), and their lengths (B,): all full."""
    features = torch.randn(batch, 100 * seconds, 80, device=device)
    return features, torch.full((batch,), 100 * seconds, device=device)


def training_step(
    config: ZipformerConfig,
    batch: int,
    seconds: int,
    given: argparse.Namespace,
    precision: Precision,
    context: Context = CONTEXT,
) -> Work:
    device, mode = precision.device, given.right_mode
    model: nn.Module = Encoder(config).to(device).train()
    set_progress(model, 20000.0)
    whitens = whiteners(model).values()
    optimizer = ScaledAdam(model.named_parameters(), lr=0.02, clipping_scale=2.0)
    features, lengths = batch_of(batch, seconds, device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast():
            out, _ = model(features, lengths, context, mode)
        out.float().sum().backward()
        settle_whitening(whitens)
        optimizer.step()

    return step


def inference(
    config: ZipformerConfig,
    batch: int,
    seconds: int,
    given: argparse.Namespace,
    precision: Precision,
) -> Work:
    device, mode = precision.device, given.right_mode
    model = Encoder(config).to(device).eval()
    features, lengths = batch_of(batch, seconds, device)

    def run() -> None:
        with torch.inference_mode(), precision.autocast():
            model(features, lengths, CONTEXT, mode)

    return run


if __name__ == "__main__":
    main()
