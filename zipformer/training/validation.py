"""Validation: losses and error rates at fixed contexts, of every set and of all together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from kaldialign import edit_distance

from zipformer.config import RunConfig
from zipformer.context import FRAME_SECONDS, Context, output_lengths, parse_contexts
from zipformer.data.filters import SPARE_FRAMES
from zipformer.data.loader import Batch, eval_batches
from zipformer.data.manifests import read_cuts, set_names, text_of
from zipformer.model import AsrModel
from zipformer.search import make_searcher
from zipformer.tokens import Tokenizer
from zipformer.tokens.scoring import RATES, Scorer, unit_of
from zipformer.training.distributed import Processes
from zipformer.training.methods import Single
from zipformer.training.methods.base import StepInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tally:
    """What a validation adds up over utterances.

    Args:
        loss: Sum over output frames.
        frames: Output frames.
        errors: Errors of greedy search.
        words: Units of what was said, of the utterances that were decoded.
    """

    loss: float = 0.0
    frames: float = 0.0
    errors: float = 0.0
    words: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def loss_per_frame(self) -> float:
        """NaN without a frame: the best of nothing."""
        return self.loss / self.frames if self.frames else float("nan")

    @property
    def error_rate(self) -> float:
        """In percent; NaN without a word."""
        return 100.0 * self.errors / self.words if self.words else float("nan")


class Validation:
    """The validation of a run; its figures are the same however many processes share it.

    Args:
        config: The resolved config.
        tokenizer: Of the run.
    """

    def __init__(self, config: RunConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.scorer = Scorer(config.scoring, tokenizer)
        self.sets = dict(zip(set_names(config.data.valid), config.data.valid, strict=True))
        self.left_out: dict[str, str] = {}  # cuts that cannot be used, with reasons

    def check(self) -> None:
        """Reads the sets.

        Raises:
            ValueError: If one holds nothing to validate on.
            FileNotFoundError: If one is missing.
        """
        for path in self.sets.values():
            if not any(text_of(cut) for cut in read_cuts(path)):
                raise ValueError(
                    f"validation set {path} holds no cut with a transcript, so that nothing can be "
                    "validated on it: leave it out of data.valid, or prepare it again"
                )

    def figures(self, model: AsrModel, processes: Processes) -> dict[str, float]:
        """Loss per output frame and greedy error rate at each context of ``validation.contexts``.

        The loss has its final weights from the start, so that its curve can be read; ``loss`` is
        the mean over the contexts. Utterances that cannot be aligned with their transcript count
        for the error rate, not for the loss. Of several sets each has figures of its own beside
        those of all together.

        Returns:
            Names are as in ``loss 32/256/64``, ``wer 32/256/64`` (or ``cer``, ``mer``: see
            ``zipformer.tokens.scoring.RATES``), and ``dev-clean: wer 32/256/64`` of one of several.
        """
        losses: list[float] = []
        figures, of_sets = dict[str, float](), dict[str, float]()
        for context in parse_contexts(self.config.validation.contexts):
            whole = Tally()
            for name, path in self.sets.items():
                found = self._tally(model, path, context, processes)
                whole += found
                named = self._named(found, context)
                of_sets |= {f"{name}: {figure}": value for figure, value in named.items()}
            losses.append(whole.loss_per_frame)
            figures |= self._named(whole, context)
        figures = {"loss": sum(losses) / max(len(losses), 1), **figures}
        return figures | of_sets if len(self.sets) > 1 else figures

    @cached_property
    def rate(self) -> str:
        """What the error rate is called: ``wer``, ``cer`` or ``mer``."""
        count = self.config.validation.wer_cuts
        cuts = (cut for path in self.sets.values() for cut in islice(read_cuts(path), count))
        texts = (self.scorer.units(text_of(cut)) for cut in cuts)
        return RATES[unit_of(self.config.scoring, texts)].lower()

    def _named(self, found: Tally, context: Context) -> dict[str, float]:
        named = {f"loss {context}": found.loss_per_frame}
        if self.config.validation.wer_cuts > 0:
            named[f"{self.rate} {context}"] = found.error_rate
        return named

    def _tally(self, model: AsrModel, path: Path, context: Context, processes: Processes) -> Tally:
        loss, frames = self._loss(model, path, context, processes)
        errors, words = 0.0, 0.0
        if self.config.validation.wer_cuts > 0:
            errors, words = self._errors(model, path, context, processes)
        return Tally(*processes.sum(loss, frames, errors, words))

    def _loss(
        self, model: AsrModel, path: Path, context: Context, processes: Processes
    ) -> tuple[float, float]:
        """Sums of loss and frames over this process's part of a set."""
        step = StepInfo(self.config.loss.warm_steps, context, self.config.validation.right_mode)
        one_context, total, frames = Single(self.config), 0.0, 0.0
        for batch in self._batches(model, path, processes):
            aligned = keep_alignable(batch)
            if aligned is not None:
                found = one_context.loss(model, aligned, step)
                total += found.loss.item()
                frames += found.frames.item()
        return total, frames

    def _errors(
        self, model: AsrModel, path: Path, context: Context, processes: Processes
    ) -> tuple[float, float]:
        """Errors and words of this process's part of a set: greedy search of the first head."""
        searcher = make_searcher(model.heads_at(context), self.tokenizer.pieces)
        errors, words = 0.0, 0.0
        for batch in self._batches(model, path, processes, self.config.validation.wer_cuts):
            out, lengths = model.encoder(
                batch.features,
                batch.feature_lens,
                context=context,
                right_mode=self.config.validation.right_mode,
            )
            for text, hypothesis in zip(batch.texts, searcher.decode(out, lengths), strict=True):
                found = self.tokenizer.decode(hypothesis.tokens)
                reference, heard = self.scorer.pair(text, found)
                errors += edit_distance(reference, heard)["total"]
                words += len(reference)
        return errors, words

    def _batches(
        self, model: AsrModel, path: Path, processes: Processes, limit: int = 0
    ) -> Iterator[Batch]:
        """This process's part of a set, of its first ``limit`` cuts; 0 = of all."""
        device = next(model.parameters()).device
        part = slice(processes.rank, None, processes.world_size)
        before = set(self.left_out)
        batches = eval_batches(
            path, self.tokenizer, self.config.data, limit=limit, part=part, left_out=self.left_out
        )
        for batch in batches:
            yield batch.to(device)
        for name in self.left_out.keys() - before:
            logger.warning("validation leaves out: %s", self.left_out[name])


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
