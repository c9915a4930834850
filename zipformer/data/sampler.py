"""Which cuts go into which batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset.sampling import DynamicBucketingSampler
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets

from zipformer.config import DataConfig
from zipformer.data.manifests import count_cuts, open_cuts
from zipformer.data.seeds import derive_seed

CUTS_FOR_BUCKETS = 10_000  # looked at to place the bucket boundaries


class TrainingSampler:
    """Batches of similar durations in a random order that hangs on (seed, epoch) alone.

    Manifests are read lazily through a buffer of ``bucket_buffer`` cuts; several are interleaved,
    each in proportion to its size. Every rank draws the same batches and takes its own of them, so
    all have the same number; at the end of an epoch the last cuts are shared out.

    Args:
        config: ``train``, ``max_duration``, ``num_buckets`` and ``bucket_buffer`` are used.
        seed: Of the order.
        rank: Which share of the batches to return.
        world_size: Number of ranks.

    Raises:
        FileNotFoundError: If a manifest is missing.
        ValueError: If there is no manifest, or no cut in them.
    """

    def __init__(self, config: DataConfig, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if not config.train:
            raise ValueError("data.train names no cuts manifest to train on")
        self.config = config
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.sizes = [count_cuts(path) for path in config.train]
        if not sum(self.sizes):
            raise ValueError(f"no cuts in {', '.join(map(str, config.train))}")
        self._bins: list[float] | None = None

    @property
    def num_cuts(self) -> int:
        """Cuts in the manifests."""
        return sum(self.sizes)

    def epoch(self, epoch: int, keep: Callable[[Cut], bool]) -> Iterator[list[Cut]]:
        """The batches of one epoch, of cuts that ``keep`` lets through. Reads no audio."""
        seed = derive_seed(self.seed, epoch)
        cuts = interleave(self.config.train, self.sizes, seed)
        if self._bins is None:
            self._bins = duration_bins(cuts, self.config.num_buckets, self.num_cuts)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Your 'buffer_size' setting")
            sampler = DynamicBucketingSampler(
                cuts,
                max_duration=self.config.max_duration,
                duration_bins=self._bins,
                buffer_size=self.config.bucket_buffer,
                shuffle=True,
                drop_last=False,
                seed=seed,
                rank=self.rank,
                world_size=self.world_size,
                # Ranks take batches of one bucket, so that none waits for another. Without it
                # lhotse 1.33 ends an epoch at the first bucket that runs dry, losing what is left.
                # Its price: the order of the buckets (not of the cuts) repeats in every epoch.
                sync_buckets=True,
            ).filter(keep)
            for batch in sampler:
                yield list(batch)


def interleave(paths: Sequence[Path], sizes: Sequence[int], seed: int) -> CutSet:
    """Several manifests as one, drawn from in proportion to their sizes; lazy."""
    sets = [open_cuts(path) for path in paths]
    return sets[0] if len(sets) == 1 else CutSet.mux(*sets, weights=list(sizes), seed=seed % 2**32)


def duration_bins(cuts: CutSet, num_buckets: int, num_cuts: int) -> list[float]:
    """Boundaries between buckets, in seconds, such that all hold about the same audio."""
    num_buckets = min(num_buckets, num_cuts)
    if num_buckets < 2:
        return [float("inf")]
    bins = estimate_duration_buckets(islice(cuts, CUTS_FOR_BUCKETS), num_buckets)
    return bins or [float("inf")]


def sorted_batches(cuts: Sequence[Cut], max_duration: float) -> Iterator[list[Cut]]:
    """Every cut once, longest first, in batches of at most ``max_duration`` seconds, padded."""
    batch: list[Cut] = []
    for cut in sorted(cuts, key=lambda c: (-c.duration, c.id)):
        if batch and (len(batch) + 1) * batch[0].duration > max_duration:
            yield batch
            batch = []
        batch.append(cut)
    if batch:
        yield batch
