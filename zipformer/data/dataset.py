"""Cuts to batches: reads or computes features, augments, pads. Runs in the workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from lhotse.cut import Cut
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from zipformer.config import DataConfig
from zipformer.data.audio import UnreadableCut, cut_samples
from zipformer.data.augment import SpecAugment
from zipformer.data.batch import Batch, collate
from zipformer.data.features import extract
from zipformer.data.level import draw_level
from zipformer.data.manifests import DAMAGED, features_of, source_of, text_of
from zipformer.data.noise import NoiseMixer
from zipformer.data.seeds import generator_for, integer
from zipformer.tokens import Tokenizer


@dataclass(frozen=True)
class Request:
    """One batch to be made.

    Args:
        cuts: What is in it.
        seeds: What its augmentation is drawn from, as in (seed, epoch, batch).
        spare: Takes the place of the whole batch if no cut of it can be read, so that there always
            is a batch and its number stays that of the sampler.
    """

    cuts: list[Cut]
    seeds: tuple[int, ...] = ()
    spare: Cut | None = None


@dataclass(frozen=True)
class Reply:
    """A batch, and the cuts that had to be left out of it with the reason."""

    batch: Batch
    unreadable: list[tuple[str, str]]

    def pin_memory(self) -> Reply:
        """The reply with its batch in pinned memory."""
        return Reply(self.batch.pin_memory(), self.unreadable)


class EvaluationDataset(Dataset[Reply]):
    """Batches as they are, no cut left out; without token ids where a vocabulary only writes.

    Args:
        tokenizer: For the token ids.
        config: ``sample_rate`` is used.
    """

    def __init__(self, tokenizer: Tokenizer, config: DataConfig) -> None:
        self.tokenizer = tokenizer
        self.config = config

    def __getitem__(self, request: Request) -> Reply:
        """Raises ``UnreadableCut`` if one cannot be read."""
        with _one_thread():
            features = [load_features(cut, self.config.sample_rate) for cut in request.cuts]
            return Reply(self._collate(features, request.cuts), [])

    def _collate(self, features: list[Tensor], cuts: list[Cut]) -> Batch:
        texts = [text_of(cut) for cut in cuts]
        cuts_text = self.tokenizer.can_encode
        tokens = [self.tokenizer.encode(text) if cuts_text else [] for text in texts]
        return collate(features, tokens, texts, [cut.id for cut in cuts])


class ReadableDataset(Dataset[tuple[Batch | None, list[tuple[str, str]]]]):
    """The batches of another dataset without the cuts that cannot be read, and these with reasons.

    Args:
        dataset: Whose batches they are; None is in the place of one of which nothing can be read.
    """

    def __init__(self, dataset: EvaluationDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, request: Request) -> tuple[Batch | None, list[tuple[str, str]]]:
        """Raises what is the fault of no single cut."""
        cuts, unreadable = list(request.cuts), list[tuple[str, str]]()
        while cuts:
            try:
                return self.dataset[Request(cuts)].batch, unreadable
            except UnreadableCut as error:
                unreadable.append((error.cut_id, str(error)))
                cuts = [cut for cut in cuts if cut.id != error.cut_id]
        return None, unreadable


class TrainingDataset(EvaluationDataset):
    """Augmented batches: speed, noise, level, SpecAugment, all drawn from the seeds of the request.

    Cuts that cannot be read are left out and reported.
    """

    def __init__(self, tokenizer: Tokenizer, config: DataConfig) -> None:
        super().__init__(tokenizer, config)
        self.spec_augment = SpecAugment(config.spec_augment)
        self.mix_noise = (
            NoiseMixer(config.noise, config.noise_prob, config.noise_snr, config.sample_rate)
            if config.noise
            else None
        )

    def __getitem__(self, request: Request) -> Reply:
        """Raises ``UnreadableCut`` if neither a cut of the batch nor its spare can be read."""
        generator = generator_for(*request.seeds)
        views, cuts, unreadable = [], [], []
        with _one_thread():
            for cut in request.cuts:
                try:
                    views.append(self._augmented(cut, generator))
                    cuts.append(cut)
                except UnreadableCut as error:
                    unreadable.append((cut.id, str(error)))
            if not cuts:
                if request.spare is None:
                    name, reason = unreadable[0]
                    raise UnreadableCut(f"no cut of a whole batch can be read: {reason}", name)
                views, cuts = [self._augmented(request.spare, generator)], [request.spare]
            features, *others = (list(column) for column in zip(*views, strict=True))
            batch = self._collate(features, cuts)
            if others:
                batch.second = pad_sequence(others[0], batch_first=True)
        return Reply(batch, unreadable)

    def _augmented(self, cut: Cut, generator: torch.Generator) -> list[Tensor]:
        """The views of a cut, (T, F) each."""
        factors = self.config.speed_factors
        if not cut.has_features and factors != (1.0,):
            factor = factors[integer(0, len(factors) - 1, generator)]
            cut = cut if factor == 1.0 else cut.perturb_speed(factor)
        if self.mix_noise is not None:
            cut = self.mix_noise(cut, generator)
        features = load_features(cut, self.config.sample_rate)
        features = draw_level(features, self.config.volume, self.config.volume_prob, generator)
        return self.spec_augment.views(features, generator)


def load_features(cut: Cut, sample_rate: int) -> Tensor:
    """(T, F) float32: the stored features of a cut, or computed from its audio.

    Raises:
        UnreadableCut: Naming the cut and its file.
        ValueError: If there are no features, and the audio is not of one channel and this rate.
    """
    if cut.has_features:
        try:
            features = torch.from_numpy(np.array(cut.load_features(), dtype=np.float32))
        except DAMAGED as error:
            raise UnreadableCut.of(cut, error, features_of(cut)) from error
    else:
        features = extract(cut_samples(cut, sample_rate), sample_rate)
    if not torch.isfinite(features).all():
        what = f"cut {cut.id}: {source_of(cut)} holds values that are not finite"
        raise UnreadableCut(what, cut.id)
    return features


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same sums in the same order, in a worker (one thread) and in the main process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
