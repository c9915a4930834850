"""What the next steps of a process consist of: cuts drawn, and those that cannot be used left out.

Drawing a step takes longer the more processes share it, since each draws all of it to find its own
part. It is done ahead of the training, by a process of its own: a thread would take turns with the
one that launches kernels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lhotse.cut import Cut
from torch.utils.data import IterableDataset

from zipformer.data.dataset import Request
from zipformer.data.filters import TrainingFilter
from zipformer.data.sampler import Share, TrainingSampler
from zipformer.data.workers import Parcel
from zipformer.tokens import Tokenizer

STEPS_AHEAD = 4  # that wait, drawn, until they are asked for


@dataclass(frozen=True)
class Drawn:
    """What one process needs to know of a step.

    Args:
        requests: Its batches; none after the last step.
        dropped: Cuts left out since the step before, by reason.
    """

    requests: list[Parcel[Request]]
    dropped: Counter[str]


class Drawing(IterableDataset[Drawn]):
    """The steps of an epoch, and at its end the cuts that were left out after the last one.

    Args:
        sampler: Draws the steps of all processes.
        share: Which of a step's batches are taken.
        tokenizer: Must be able to write every transcript.
        epoch: Which epoch.
        start_step: Steps before it are drawn and not yielded.
    """

    def __init__(
        self,
        sampler: TrainingSampler,
        share: Share,
        tokenizer: Tokenizer,
        epoch: int,
        start_step: int = 0,
    ) -> None:
        self.sampler = sampler
        self.share = share
        self.tokenizer = tokenizer
        self.epoch = epoch
        self.start_step = start_step

    def __iter__(self) -> Iterator[Drawn]:
        """Raises ValueError as ``TrainingFilter`` does."""
        keep = TrainingFilter(self.sampler.config, self.tokenizer)
        spare: Cut | None = None
        for step, batches in enumerate(self.sampler.epoch(self.epoch, keep)):
            if step >= self.start_step:
                yield Drawn(self._requests(step, batches, spare), keep.dropped)
                keep.dropped = Counter()
            spare = batches[0][0]
        yield Drawn([], keep.dropped)

    def _requests(
        self, step: int, batches: list[list[Cut]], spare: Cut | None
    ) -> list[Parcel[Request]]:
        first = step * self.share.batches_per_step
        seeds = self.sampler.seed, self.epoch
        return [
            Parcel(Request(batches[position], (*seeds, first + position), spare))
            for position in self.share.positions
        ]
