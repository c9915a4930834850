"""The task of this package: an encoder with the heads that the config asks for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from kaldialign import edit_distance
from torch import Tensor, nn

from zipformer.checkpoint.initialise import initialise
from zipformer.config import RunConfig
from zipformer.context import FRAME_SECONDS, Context, output_lengths, parse_contexts
from zipformer.data.filters import SPARE_FRAMES
from zipformer.data.loader import Batch, TrainLoader, eval_batches
from zipformer.data.manifests import count_cuts, manifest_seconds, read_cuts, text_of
from zipformer.data.sampler import Share
from zipformer.model import AsrModel
from zipformer.search import make_searcher
from zipformer.tokens import open_tokenizer
from zipformer.tokens.scoring import Scorer
from zipformer.training.context_sampler import ContextSampler
from zipformer.training.distributed import Processes
from zipformer.training.methods import Single, StepLoss, make_method
from zipformer.training.methods.base import StepInfo

logger = logging.getLogger(__name__)


class AsrTask:
    """Training of an ``AsrModel`` by the method of the config.

    Args:
        config: The resolved config; ``data.bpe_model`` must exist.

    Raises:
        ValueError: If the vocabulary writes text, but cannot cut it into tokens, or does not suit
            an attention decoder.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.left_out: dict[str, str] = {}  # validation cuts that cannot be used, with reasons
        self.tokenizer = open_tokenizer(config.data.bpe_model)
        if not self.tokenizer.can_encode:
            self.tokenizer.encode("")  # raises, saying what is missing
        if config.model.attention_decoder:
            self.tokenizer.check_sentences()
        self.method = make_method(config)
        self.contexts = ContextSampler(
            config.context, config.encoder, config.train.seed, self.method.full_share
        )

    def files(self) -> dict[str, Path]:
        """The tokenizer."""
        return {self.tokenizer.file_name: self.tokenizer.path}

    def build_loader(self, share: Share) -> TrainLoader:
        """Batches from ``data.train``.

        Raises:
            ValueError: If a validation set holds nothing to validate on.
            FileNotFoundError: If one is missing.
        """
        for path in self.config.data.valid:
            if not any(text_of(cut) for cut in read_cuts(path)):
                raise ValueError(
                    f"validation set {path} holds no cut with a transcript, so that nothing can be "
                    "validated on it: leave it out of data.valid, or prepare it again"
                )
        for_a_gpu = self.config.train.device != "cpu" and torch.cuda.is_available()
        loader = TrainLoader(
            self.config.data, self.tokenizer, self.config.train.seed, share, pin=for_a_gpu
        )
        if share.rank == 0 and self.config.data.is_weighted:
            for line in loader.sampler.mixture.describe():
                logger.info("training data: %s", line)
        return loader

    def epoch_seconds(self) -> float:
        """Audio in the training manifests, each as often as its weight says."""
        return sum(c.weight * manifest_seconds(c.path) for c in self.config.data.corpora)

    def build_model(self) -> AsrModel:
        """A model of the config's sizes, with as many outputs as the tokenizer has tokens."""
        return AsrModel.of(self.config, self.tokenizer.vocab_size)

    def initialise(self, model: nn.Module, source: Path) -> str:
        """Takes over the weights of a run of ours or of a published checkpoint."""
        assert isinstance(model, AsrModel)
        return str(initialise(model, source, self.tokenizer))

    def draw(self, step: int) -> StepInfo:
        """A context from the menus of ``context``, or as the method wants it."""
        return StepInfo(step, *self.contexts.sample(step))

    def heaviest(self) -> list[StepInfo]:
        """The contexts of the menus that need most memory."""
        return [StepInfo(0, context, mode) for context, mode in self.contexts.heaviest()]

    def loss(
        self, model: nn.Module, batch: Batch, step: StepInfo
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the method of the config makes of a batch; see ``zipformer.training.methods``."""
        assert isinstance(model, AsrModel)
        return _to_log(self.method.loss(model, batch, step))

    def validate(self, model: nn.Module, processes: Processes) -> dict[str, float]:
        """Loss per output frame and greedy WER at each context of ``validation.contexts``.

        The loss has its final weights from the start, so that its curve can be read; ``loss`` is
        the mean over the contexts. Utterances that cannot be aligned with their transcript count
        for the WER, not for the loss.
        """
        assert isinstance(model, AsrModel)
        figures: dict[str, float] = {}
        losses = []
        for context in parse_contexts(self.config.validation.contexts):
            losses.append(self._validation_loss(model, context, processes))
            figures[f"loss {context}"] = losses[-1]
            if self.config.validation.wer_cuts > 0:
                figures[f"wer {context}"] = self._validation_wer(model, context, processes)
        return {"loss": sum(losses) / max(len(losses), 1), **figures}

    def _validation_loss(self, model: AsrModel, context: Context, processes: Processes) -> float:
        step = StepInfo(self.config.loss.warm_steps, context, self.config.validation.right_mode)
        one_context, total, frames = Single(self.config), 0.0, 0.0
        for batch in self._validation_batches(model, processes):
            aligned = keep_alignable(batch)
            if aligned is not None:
                info = _to_log(one_context.loss(model, aligned, step))[1]
                total += info["loss"].item()
                frames += info["frames"].item()
        total, frames = processes.sum(total, frames)
        return total / frames if frames else float("nan")  # which is the best of nothing

    def _validation_wer(self, model: AsrModel, context: Context, processes: Processes) -> float:
        """Word errors in percent of the reference words: greedy search of the first head."""
        searcher = make_searcher(model.heads_at(context), self.tokenizer.pieces)
        scorer = Scorer(self.config.scoring, self.tokenizer)
        errors, words = 0.0, 0.0
        for batch in self._validation_batches(model, processes, self.config.validation.wer_cuts):
            out, lengths = model.encoder(
                batch.features,
                batch.feature_lens,
                context=context,
                right_mode=self.config.validation.right_mode,
            )
            for text, hypothesis in zip(batch.texts, searcher.decode(out, lengths), strict=True):
                found = self.tokenizer.decode(hypothesis.tokens)
                reference, heard = scorer.pair(text, found)
                errors += edit_distance(reference, heard)["total"]
                words += len(reference)
        errors, words = processes.sum(errors, words)
        return 100.0 * errors / words if words else float("nan")

    def _validation_batches(
        self, model: AsrModel, processes: Processes, limit: int = 0
    ) -> Iterator[Batch]:
        """This process's part of the validation sets.

        Args:
            model: Whose device the batches go to.
            processes: That share the batches.
            limit: Cuts in all; 0 = every cut.
        """
        device = next(model.parameters()).device
        part = slice(processes.rank, None, processes.world_size)
        left = limit
        for path in self.config.data.valid:
            data = self.config.data
            before = set(self.left_out)
            batches = eval_batches(
                path, self.tokenizer, data, limit=left, part=part, left_out=self.left_out
            )
            for batch in batches:
                yield batch.to(device)
            for name in self.left_out.keys() - before:
                logger.warning("validation leaves out: %s", self.left_out[name])
            if limit:
                left -= count_cuts(path)
                if left <= 0:
                    return


def _to_log(found: StepLoss) -> tuple[Tensor, dict[str, Tensor]]:
    info = {"loss": found.loss, **found.parts, "frames": found.frames}
    return found.loss, {name: value.detach() for name, value in info.items()}


def keep_alignable(batch: Batch) -> Batch | None:
    """The utterances of a batch that a loss exists for; None if there are none.

    They have a transcript, and two output frames more than tokens: the rule by which the loader
    chooses what to train on.
    """
    num_frames = output_lengths(batch.feature_lens)
    rows = [
        i
        for i, (frames, ids) in enumerate(zip(num_frames.tolist(), batch.tokens, strict=True))
        if ids and frames - SPARE_FRAMES >= len(ids)
    ]
    if len(rows) == len(batch.tokens):
        return batch
    if not rows:
        return None
    lengths = batch.feature_lens[rows]
    return replace(
        batch,
        features=batch.features[rows, : int(lengths.max())],
        feature_lens=lengths,
        tokens=[batch.tokens[i] for i in rows],
        texts=[batch.texts[i] for i in rows],
        cut_ids=[batch.cut_ids[i] for i in rows],
        seconds=float(lengths.sum()) * FRAME_SECONDS,
    )
