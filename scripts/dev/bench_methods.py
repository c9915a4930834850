#!/usr/bin/env python3
"""What a step of each training method costs, relative to the first config.

    python scripts/dev/bench_methods.py recipes/digits/{unified,dual,distill,consistency}.toml

Timed are loss and backward pass, without the optimizer, of one random batch (12 utterances of 2.5 s
with 8 tokens, whatever ``max_duration`` says) at the contexts of the first 24 steps after the
warm-up. The config's data must be prepared, for its token set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import measure
from zipformer.config.command_line import load_config
from zipformer.data.batch import Batch
from zipformer.nn.regularizers import settle_whitening, whiteners
from zipformer.nn.schedule import set_progress
from zipformer.ops.memory import keep_freed_memory
from zipformer.training.asr import AsrTask

UTTERANCES, FRAMES, TOKENS = 12, 250, 8
STEPS = 24


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("configs", nargs="+", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    bench = measure.start(given)
    first = 0.0
    for path in given.configs:
        timing = bench.run(path.stem, steps(path, given.device))
        first = first or timing.units
        timing.more["relative"] = round(timing.units / first, 2)
    bench.print(given.json)


def steps(path: Path, device: torch.device) -> Callable[[], None]:
    config = load_config(path, [])
    task = AsrTask(config)
    torch.manual_seed(0)
    model = task.build_model().to(device).train()
    set_progress(model, 20000.0)
    whitens = whiteners(model).values()
    begin = max(config.loss.warm_steps, config.context.curriculum_steps)
    features = torch.randn(UTTERANCES, FRAMES, config.encoder.num_features, device=device)
    tokens = torch.randint(3, task.tokenizer.vocab_size, (UTTERANCES, TOKENS)).tolist()
    names = [""] * UTTERANCES
    lengths = torch.full((UTTERANCES,), FRAMES, device=device)
    batch = Batch(features, lengths, tokens, names, names, UTTERANCES * FRAMES / 100)
    if config.data.spec_augment.views == 2:
        batch = replace(batch, second=features.roll(1, dims=2))

    def run() -> None:
        for step in range(begin, begin + STEPS):
            model.zero_grad(set_to_none=True)
            loss, _ = task.loss(model, batch, task.draw(step))
            loss.backward()
            settle_whitening(whitens)

    return run


if __name__ == "__main__":
    main()
