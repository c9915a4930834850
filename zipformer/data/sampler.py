"""Which cuts go into which batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random

from lhotse.cut import Cut
from lhotse.dataset.sampling.dynamic_bucketing import DynamicBucketer, estimate_duration_buckets

from zipformer.config import DataConfig
from zipformer.data.mixture import Mixture
from zipformer.data.seeds import derive_seed

CUTS_FOR_BUCKETS = 10_000  # looked at to place the bucket boundaries


@dataclass(frozen=True)
class Share:
    """Which part of every step's batches a process takes.

    A step is ``world_size * accumulate`` batches, whoever computes them: two processes get what one
    that accumulates two batches gets.

    Args:
        rank: Of this process.
        world_size: Processes.
        accumulate: Batches that a process takes a step.
    """

    rank: int = 0
    world_size: int = 1
    accumulate: int = 1

    @property
    def batches_per_step(self) -> int:
        """Batches of a step, over all processes."""
        return self.world_size * self.accumulate

    @property
    def positions(self) -> range:
        """Which of them are this process's."""
        return range(self.rank * self.accumulate, (self.rank + 1) * self.accumulate)


class TrainingSampler:
    """Batches of similar durations in a random order that depends on (seed, epoch) alone.

    Manifests are read lazily through a buffer of ``bucket_buffer`` cuts; several are interleaved as
    ``Mixture`` says. All batches of a step come from one bucket, so that no process
    waits for another, and every process draws the same steps; in the last one of an epoch the cuts
    that are left are shared out.

    Args:
        config: ``train``, ``max_duration``, ``num_buckets`` and ``bucket_buffer`` are used.
        seed: Of the order.
        batches_per_step: Of all processes together.

    Raises:
        FileNotFoundError: If a manifest is missing.
        ValueError: If there is no manifest, no cut in them, or if weights do not suit them.
    """

    def __init__(self, config: DataConfig, seed: int, batches_per_step: int = 1) -> None:
        self.mixture = Mixture(config.corpora)
        self.config = config
        self.seed = seed
        self.batches_per_step = batches_per_step
        # Of the first epoch's order for every epoch: one that is taken up again has the same.
        first = self._cuts(epoch=1)
        self.bins = duration_bins(first, config.num_buckets, self.num_cuts)

    @property
    def num_cuts(self) -> int:
        """Cuts of an epoch: those in the manifests, each as often as its weight says."""
        return self.mixture.num_cuts

    def epoch(self, epoch: int, keep: Callable[[Cut], bool]) -> Iterator[list[list[Cut]]]:
        """The batches of one step after another, of cuts that ``keep`` lets through.

        Reads no audio and no features.
        """
        seed = derive_seed(self.seed, epoch)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Your 'buffer_size' setting")
            # Not lhotse's sampler around it: that one draws the buckets alike in every epoch, or
            # ends an epoch at the first bucket that runs dry, losing what is left (lhotse 1.33).
            bucketer = DynamicBucketer(
                filter(keep, self._cuts(epoch)),
                duration_bins=self.bins,
                world_size=self.batches_per_step,
                max_duration=self.config.max_duration,
                buffer_size=self.config.bucket_buffer,
                shuffle=True,
                rng=Random(seed),
                bucket_rng=Random(derive_seed(seed, 1)),
            )
            batches = iter(bucketer)
            while step := [list(batch) for batch in islice(batches, self.batches_per_step)]:
                yield share_out(step, self.batches_per_step)

    def _cuts(self, epoch: int) -> Iterable[Cut]:
        return self.mixture.cuts(epoch, derive_seed(self.seed, epoch))


def share_out(batches: list[list[Cut]], count: int) -> list[list[Cut]]:
    """``count`` batches out of fewer, none of them empty; if there are too few cuts, some twice."""
    if len(batches) == count:
        return batches
    cuts = [cut for batch in batches for cut in batch]
    cuts = list(islice(cycle(cuts), max(count, len(cuts))))
    return [cuts[i::count] for i in range(count)]


def duration_bins(cuts: Iterable[Cut], num_buckets: int, num_cuts: int) -> list[float]:
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
