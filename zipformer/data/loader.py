"""Batches for training and evaluation, read by worker processes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut
from torch.utils.data import DataLoader, Dataset

from zipformer.config import DataConfig
from zipformer.data.batch import Batch
from zipformer.data.dataset import EvaluationDataset, Reply, Request, TrainingDataset
from zipformer.data.filters import TrainingFilter, check_audio
from zipformer.data.manifests import open_cuts
from zipformer.data.sampler import TrainingSampler, sorted_batches
from zipformer.data.tokenizer import Tokenizer

__all__ = ["Batch", "TrainLoader", "eval_batches"]

logger = logging.getLogger(__name__)

UNREADABLE_CUT = "unreadable"  # the name under which such cuts are counted


class TrainLoader:
    """Training batches, the same for a (seed, epoch) whoever loads them.

    Neither the number of workers, nor where an epoch is taken up again, nor the state of any global
    random generator changes a bit of them, and none of these generators is moved.

    Args:
        config: The section ``data``.
        tokenizer: Turns transcripts into token ids.
        seed: Of the order and of the augmentation.
        rank: Of this process.
        world_size: Processes; each gets its own batches, all the same number.

    Raises:
        FileNotFoundError: If a manifest is missing.
        ValueError: If a manifest holds nothing to train on or to mix in.
    """

    def __init__(
        self,
        config: DataConfig,
        tokenizer: Tokenizer,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.sampler = TrainingSampler(config, seed, rank, world_size)
        self.dataset = TrainingDataset(tokenizer, config)
        self.dropped: Counter[str] = Counter()

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number ``start_batch`` on; skipping reads no audio.

        ``dropped`` counts, by reason, the cuts of this epoch that were left out.

        Raises:
            ValueError: If the data do not fit the config or the tokenizer, naming the cut, if
                nothing is left to train on, or if more cuts than ``max_bad_share`` of the manifests
                cannot be read.
        """
        keep = TrainingFilter(self.config, self.tokenizer)
        self.dropped = keep.dropped
        wanted = islice(self._requests(epoch, keep), start_batch, None)
        batches = 0
        for reply in _load(self.dataset, wanted, self.config.num_workers):
            self._count(reply)
            batches += 1
            yield reply.batch
        if not batches and not start_batch:
            raise ValueError(
                f"nothing to train on: of {self.sampler.num_cuts} cuts in "
                f"{', '.join(map(str, self.config.train))} all were dropped: {dict(self.dropped)}"
            )
        if self.dropped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
            logger.info("epoch %d left out cuts: %s", epoch, reasons)

    def _requests(self, epoch: int, keep: TrainingFilter) -> Iterator[Request]:
        spare: Cut | None = None
        for index, cuts in enumerate(self.sampler.epoch(epoch, keep)):
            number = index * self.world_size + self.rank
            yield Request(cuts, (self.seed, epoch, number), spare)
            spare = cuts[0]

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
) -> Iterator[Batch]:
    """Every cut of a manifest once, as it is, longest first.

    Args:
        cuts_path: Cuts manifest.
        tokenizer: For ``Batch.tokens``; the texts stay as they are in the manifest.
        config: The section ``data``.
        max_duration: Seconds per batch, padding included; the config's by default.
        limit: Only the first so many cuts of the manifest; 0 = all.

    Raises:
        FileNotFoundError: If there is no such manifest.
        ValueError: If a cut has another sample rate or cannot be read, naming it.
    """
    cuts = list(islice(open_cuts(cuts_path), limit or None))
    for cut in cuts:
        check_audio(cut, config.sample_rate)
    requests = [Request(b) for b in sorted_batches(cuts, max_duration or config.max_duration)]
    dataset = EvaluationDataset(tokenizer, config)
    for reply in _load(dataset, requests, min(config.num_workers, len(requests))):
        yield reply.batch


def _load(
    dataset: Dataset[Reply], requests: Iterable[Request], num_workers: int
) -> Iterator[Reply]:
    """The replies to the requests, in their order."""
    loader = DataLoader(
        dataset,
        sampler=requests,
        batch_size=None,  # a request already is a batch
        num_workers=num_workers,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else it takes its seeds from the global generator
    )
    yield from loader


def _as_it_is(reply: Any) -> Any:
    return reply
