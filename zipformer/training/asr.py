"""The task of this package: an encoder with the heads that the config asks for."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from zipformer.checkpoint.initialise import initialise
from zipformer.config import RunConfig
from zipformer.data.loader import Batch, TrainLoader
from zipformer.data.manifests import manifest_seconds
from zipformer.data.sampler import Share
from zipformer.model import AsrModel
from zipformer.nn.regularizers import Balancer, Whiten, leave_out
from zipformer.tokens import open_tokenizer
from zipformer.training.context_sampler import ContextSampler
from zipformer.training.distributed import Processes
from zipformer.training.methods import StepLoss, make_method
from zipformer.training.methods.base import StepInfo
from zipformer.training.validation import Validation

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
        self.tokenizer = open_tokenizer(config.data.bpe_model)
        if not self.tokenizer.can_encode:
            self.tokenizer.encode("")  # raises, saying what is missing
        if config.model.attention_decoder:
            self.tokenizer.check_sentences()
        self.method = make_method(config)
        self.validation = Validation(config, self.tokenizer)
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
        self.validation.check()
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
        model = AsrModel.of(self.config, self.tokenizer.vocab_size)
        present = {Balancer: self.config.loss.balancer, Whiten: self.config.loss.whiten}
        leave_out(model, *(kind for kind, wanted in present.items() if not wanted))
        return model

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
        """Losses and error rates at fixed contexts; see ``Validation.figures``."""
        assert isinstance(model, AsrModel)
        return self.validation.figures(model, processes)


def _to_log(found: StepLoss) -> tuple[Tensor, dict[str, Tensor]]:
    info = {"loss": found.loss, **found.parts, "frames": found.frames}
    return found.loss, {name: value.detach() for name, value in info.items()}
