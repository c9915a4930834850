"""Batches for training and evaluation, read by worker processes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from lhotse.cut import Cut

from zipformer.config import DataConfig
from zipformer.data.batch import Batch
from zipformer.data.dataset import (
    EvaluationDataset,
    ReadableDataset,
    Reply,
    Request,
    TrainingDataset,
)
from zipformer.data.drawing import STEPS_AHEAD, Drawing, Drawn
from zipformer.data.filters import check_audio
from zipformer.data.manifests import read_cuts, text_of
from zipformer.data.sampler import Share, TrainingSampler, sorted_batches
from zipformer.data.workers import Parcel, answers, items
from zipformer.tokens import Tokenizer

__all__ = ["Batch", "TrainLoader", "eval_batches"]

logger = logging.getLogger(__name__)

# What memory depends on: padded audio, attention, number of cuts, and the transducer's lattice.
SIZES: tuple[Callable[[list[Cut]], float], ...] = (
    lambda cuts: len(cuts) * max(cut.duration for cut in cuts),
    lambda cuts: max(cut.duration for cut in cuts),
    len,
    lambda cuts: (
        len(cuts) * max(cut.duration for cut in cuts) * max(len(text_of(cut)) for cut in cuts)
    ),
)

CUTS_OF_SHARDS = 500  # in memory at a time
UNREADABLE_CUT = "unreadable"  # the name under which such cuts are counted


class TrainLoader:
    """Training batches, the same for a (seed, epoch) whoever loads them.

    Neither the number of workers, nor where an epoch is taken up again, nor the state of any global
    random generator changes a bit of them, and none of these generators is moved.

    Args:
        config: The section ``data``.
        tokenizer: Turns transcripts into token ids.
        seed: Of the order and of the augmentation.
        share: Which batches of a step are this process's; all by default.
        pin: Whether batches arrive in pinned memory, from where a GPU takes them fastest.

    Raises:
        FileNotFoundError: If a manifest is missing.
        ValueError: If a manifest holds nothing to train on or to mix in.
    """

    def __init__(
        self,
        config: DataConfig,
        tokenizer: Tokenizer,
        seed: int,
        share: Share | None = None,
        pin: bool = False,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.seed = seed
        self.share = share or Share()
        self.pin = pin
        self.sampler = TrainingSampler(config, seed, self.share.batches_per_step)
        self.dataset = TrainingDataset(tokenizer, config)
        self.dropped: Counter[str] = Counter()

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """This process's batches of an epoch, ``share.accumulate`` of them for every step.

        It begins at step ``start_step``; skipping reads no audio. ``dropped`` counts, by reason,
        the cuts of this epoch that were left out.

        Raises:
            ValueError: If the data do not fit the config or the tokenizer, naming the cut, if
                nothing is left to train on, or if more cuts than ``max_bad_share`` of the manifests
                cannot be read.
        """
        self.dropped = Counter()
        found = False
        for reply in answers(
            self.dataset,
            self._requests(epoch, start_step, self.dropped),
            self.config.num_workers,
            self.pin,
        ):
            self._count(reply)
            found = True
            yield reply.batch
        if not found and not start_step:
            raise ValueError(
                f"nothing to train on: of {self.sampler.num_cuts} cuts in "
                f"{', '.join(str(c.path) for c in self.config.corpora)} all were dropped: "
                f"{dict(self.dropped)}"
            )
        if self.dropped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
            logger.info("epoch %d left out cuts: %s", epoch, reasons)

    def largest(self) -> list[Batch]:
        """Of this process's batches of the first epoch those that need most memory.

        They are the one with most audio, that with the longest cut, that with most cuts, and that
        with the largest lattice, as far as these differ.
        """
        largest: list[tuple[float, int, Request]] = [(0.0, -1, Request([]))] * len(SIZES)
        drawn = Drawing(self.sampler, self.share, self.tokenizer, epoch=1)
        for number, parcel in enumerate(parcel for step in drawn for parcel in step.requests):
            request = parcel.open()
            sizes = [size(request.cuts) for size in SIZES]
            largest = [
                (size, number, request) if size > before[0] else before
                for size, before in zip(sizes, largest, strict=True)
            ]
        wanted = {number: request for _, number, request in largest if request.cuts}
        requests = [Parcel(wanted[number]) for number in sorted(wanted)]
        return [reply.batch for reply in answers(self.dataset, requests, num_workers=0)]

    def _requests(
        self, epoch: int, start_step: int, dropped: Counter[str]
    ) -> Iterator[Parcel[Request | Exception]]:
        """This process's requests; ``dropped`` counts the cuts left out of the steps so far."""
        drawing = Drawing(self.sampler, self.share, self.tokenizer, epoch, start_step)
        steps = items(drawing, STEPS_AHEAD if self.config.num_workers else 0)
        return _requests(steps, dropped)

    def _count(self, reply: Reply) -> None:
        for cut_id, reason in reply.unreadable:
            self.dropped[UNREADABLE_CUT] += 1
            logger.warning("left out cut %s: %s", cut_id, reason)
            if self.dropped[UNREADABLE_CUT] > self.config.max_bad_share * self.sampler.num_cuts:
                raise ValueError(
                    f"{self.dropped[UNREADABLE_CUT]} of {self.sampler.num_cuts} cuts cannot be "
                    f"read, more than data.max_bad_share = {self.config.max_bad_share} allows; "
                    f"the last: {reason}"
                )


def eval_batches(
    cuts_path: Path,
    tokenizer: Tokenizer,
    config: DataConfig,
    max_duration: float | None = None,
    limit: int = 0,
    part: slice = slice(None),
    left_out: dict[str, str] | None = None,
) -> Iterator[Batch]:
    """Every cut of a manifest once, as it is, longest first.

    Args:
        cuts_path: Cuts manifest.
        tokenizer: For ``Batch.tokens``; the texts stay as they are in the manifest.
        config: The section ``data``.
        max_duration: Seconds per batch, padding included; the config's by default.
        limit: Only the first so many cuts of the manifest; 0 = all.
        part: Which of the batches.
        left_out: Where cuts that cannot be read, or are longer than a batch of training, are noted
            by name with the reason; without it they are an error, or heard.

    Raises:
        FileNotFoundError: If there is no such manifest.
        ValueError: If a cut has another sample rate or cannot be read, naming it.
    """
    dataset = EvaluationDataset(tokenizer, config)
    cuts = islice(read_cuts(cuts_path), limit or None)
    # Cuts of shards hold their features: not all of them at once.
    while some := list(islice(cuts, CUTS_OF_SHARDS if Path(cuts_path).is_dir() else None)):
        for cut in some:
            check_audio(cut, config.sample_rate)
        if left_out is not None:
            some = list(_heard(some, config.max_duration, left_out))
        batches = list(sorted_batches(some, max_duration or config.max_duration))[part]
        requests = [Parcel(Request(batch)) for batch in batches]
        workers = min(config.num_workers, len(requests))
        if left_out is None:
            yield from (reply.batch for reply in answers(dataset, requests, workers))
            continue
        for readable, unreadable in answers(ReadableDataset(dataset), requests, workers):
            left_out.update(unreadable)
            if readable is not None:
                yield readable


def _heard(cuts: Iterable[Cut], longest: float, left_out: dict[str, str]) -> Iterator[Cut]:
    """Cuts that a batch of so many seconds has room for; the others are noted."""
    for cut in cuts:
        if cut.duration <= longest:
            yield cut
        else:
            left_out[cut.id] = (
                f"cut {cut.id} lasts {cut.duration:.0f} s, longer than data.max_duration "
                f"({longest:g} s)"
            )


def _requests(
    steps: Iterable[Drawn | Exception], dropped: Counter[str]
) -> Iterator[Parcel[Request | Exception]]:
    """The requests of steps; their counts of dropped cuts are added to ``dropped``."""
    for step in steps:
        if isinstance(step, Exception):
            yield Parcel(step)
        else:
            dropped.update(step.dropped)
            yield from step.requests
