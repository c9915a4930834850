#!/usr/bin/env python3
"""How fast training data comes, and how soon after a restart.

    python scripts/dev/bench_data.py recipes/librispeech/mini.toml --steps 30
    python scripts/dev/bench_data.py recipes/librispeech/mini.toml --resume-cuts 300000
    python scripts/dev/bench_data.py recipes/librispeech/mini.toml --drawing-cuts 40000

The first loads batches, with as many worker processes as asked for, then trains and says which
share of the time the steps waited for data. The second writes a manifest of that many invented
cuts and measures how long the loader takes to get to the end of an epoch again, reading no audio.
The third says how long a training process is kept from a step by the drawing of later ones, with
batches of 1000 s for 1 and for 8 processes: drawn by itself with all transcripts tokenized, drawn
by itself, and drawn ahead by a worker.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from lhotse import CutSet, Features, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.cut import MonoCut
from torch.utils.data import Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from zipformer.config import DataConfig, RunConfig
from zipformer.config.command_line import load_config
from zipformer.data.dataset import Request
from zipformer.data.drawing import STEPS_AHEAD, Drawing
from zipformer.data.filters import TrainingFilter
from zipformer.data.loader import TrainLoader
from zipformer.data.manifests import open_cuts, text_of
from zipformer.data.sampler import Share, TrainingSampler
from zipformer.data.workers import answers, items
from zipformer.optim import ScaledAdam
from zipformer.tokens import open_tokenizer
from zipformer.tokens.sentencepiece_model import SentencePieceTokenizer
from zipformer.training.asr import AsrTask
from zipformer.training.distributed import Processes
from zipformer.training.precision import Precision
from zipformer.training.step import Updater


def main() -> None:
    options = parse()
    config = load_config(options.config)
    if options.resume_cuts:
        measure_resume(config, options.resume_cuts)
        return
    if options.drawing_cuts:
        measure_drawing(config, options.drawing_cuts, options.steps, options.pause)
        return
    for workers in options.workers:
        measure_loading(config, workers, options.batches)
    measure_waiting(config, options.steps)


def measure_loading(config: RunConfig, workers: int, batches: int) -> None:
    """Seconds of audio that come in a second."""
    data = replace(config.data, num_workers=workers)
    loader = TrainLoader(data, open_tokenizer(data.bpe_model), seed=1)
    epochs = endless(loader)
    next(epochs)  # starts the workers
    began = time.perf_counter()
    seconds = sum(batch.seconds for batch in islice(epochs, batches))
    took = time.perf_counter() - began
    print(f"{workers} workers: {seconds / took:.0f} x real time ({seconds:.0f} s of audio)")


def measure_waiting(config: RunConfig, steps: int) -> None:
    """Share of training that waits for the loader."""
    task = AsrTask(config)
    precision = Precision(config.train.device, config.train.precision)
    model = task.build_model().to(precision.device).train()
    optimizer = ScaledAdam(model.parameters(), lr=config.optim.base_lr)
    update = Updater(task, model, optimizer, precision, Processes(), Share())
    batches = endless(task.build_loader(Share()))
    next(batches)
    began, waited, seconds = time.perf_counter(), 0.0, 0.0
    for step in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        seconds += batch.seconds
        update([batch.to(precision.device)], step)
    took = time.perf_counter() - began
    print(
        f"training with {config.data.num_workers} workers: {seconds / took:.1f} x real time, "
        f"{100 * waited / took:.1f} % of it waiting for data"
    )


def endless(loader: TrainLoader) -> Iterator[Any]:
    """Epoch after epoch."""
    epoch = 1
    while True:
        yield from loader.epoch(epoch)
        epoch += 1


def measure_resume(config: RunConfig, cuts: int) -> None:
    """Seconds from the start of an epoch to its last batch when all others are skipped."""
    with invented_manifest(config, cuts) as data:
        tokenizer = open_tokenizer(data.bpe_model)
        loader = TrainLoader(data, tokenizer, seed=1)
        began = time.perf_counter()
        steps = sum(1 for _ in loader.sampler.epoch(1, TrainingFilter(data, tokenizer)))
        took = time.perf_counter() - began
    print(f"{cuts} cuts, {steps} batches: {took:.1f} s to the end of the epoch")


def measure_drawing(config: RunConfig, cuts: int, steps: int, pause: float) -> None:
    """Milliseconds a step that a training process waits and computes because of the drawing."""
    print("processes  drawing                     waits ms  computes ms  (a step, mean)")
    with invented_manifest(config, cuts) as data:
        ways = (
            ("in place, all tokenized", Undecided(data.bpe_model), 0),
            ("in place", open_tokenizer(data.bpe_model), 0),
            (f"{STEPS_AHEAD} steps ahead", open_tokenizer(data.bpe_model), STEPS_AHEAD),
        )
        for world_size in (1, 8):
            share = Share(0, world_size)
            for name, tokenizer, ahead in ways:
                drawing = Drawing(TrainingSampler(data, 1, world_size), share, tokenizer, epoch=1)
                waits, computes = kept_from_steps(drawing, ahead, steps, pause)
                print(f"{world_size:9}  {name:26}  {waits:8.2f}  {computes:11.2f}", flush=True)


def kept_from_steps(drawing: Drawing, ahead: int, steps: int, pause: float) -> tuple[float, float]:
    """Milliseconds a step, by the clock and of this thread's own work, until a batch is there."""
    requests = (
        parcel
        for step in items(drawing, ahead)
        if not isinstance(step, Exception)
        for parcel in step.requests
    )
    batches = answers(Unread(), requests, num_workers=1)
    next(batches)
    waited = worked = 0.0
    for _ in range(steps):
        time.sleep(pause)  # what a GPU takes for a step, in which a training process is idle
        asked, began = time.perf_counter(), time.thread_time()
        next(batches)
        waited += time.perf_counter() - asked
        worked += time.thread_time() - began
    return 1000 * waited / steps, 1000 * worked / steps


class Unread(Dataset[int]):
    """Takes a batch as read when it has been asked for: the number of its cuts."""

    def __getitem__(self, request: Request) -> int:
        return len(request.cuts)


class Undecided(SentencePieceTokenizer):
    """Has no bound on the number of tokens: every text is tokenized."""

    def most_tokens(self, normalized: str) -> int:
        return sys.maxsize


@contextmanager
def invented_manifest(config: RunConfig, cuts: int) -> Iterator[DataConfig]:
    """The config's data with so many invented cuts in their place."""
    texts = [text_of(cut) for corpus in config.data.corpora for cut in open_cuts(corpus.path)]
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "cuts.jsonl.gz"
        with CutSet.open_writer(manifest) as writer:
            for cut in invented(cuts, texts):
                writer.write(cut)
        yield replace(config.data, train=(manifest,), max_duration=1000.0, num_buckets=30)


def invented(count: int, texts: list[str]) -> Iterator[MonoCut]:
    """Cuts with transcripts of real ones and stored features that are nowhere."""
    random = Random(0)
    for i in range(count):
        duration = round(min(max(random.gauss(12.3, 3.8), 1.5), 20.0), 2)
        name = f"{i % 1000}-{i % 77}-{i:06d}"
        text = random.choice(texts)
        source = AudioSource("file", [0], f"corpus/{i % 1000}/{name}.flac")
        yield MonoCut(
            id=name,
            start=0.0,
            duration=max(duration, 0.1 * len(text.split())),
            channel=0,
            supervisions=[SupervisionSegment(name, name, 0.0, duration, text=text, speaker="s")],
            features=Features(
                type="kaldi-fbank",
                num_frames=round(100 * duration),
                num_features=80,
                frame_shift=0.01,
                sampling_rate=16000,
                start=0.0,
                duration=duration,
                storage_type="lilcom_chunky",
                storage_path="fbank/feats-0.lca",
                storage_key="1234,5678",
            ),
            recording=Recording(name, [source], 16000, round(16000 * duration), duration),
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="a recipe's TOML, prepared")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=60, help="loaded for each of them")
    parser.add_argument("--steps", type=int, default=20, help="of training")
    parser.add_argument("--resume-cuts", type=int, default=0)
    parser.add_argument("--drawing-cuts", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds, in place of a step")
    return parser.parse_args()


if __name__ == "__main__":
    main()
