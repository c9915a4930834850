"""The config of a run: all sections together, and what they must be to each other.

Order of precedence: the defaults in the sections, then one recipe TOML, then the command line
(see ``zipformer.config.command_line``). The resolved config is stored in every checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

from zipformer.config.menu import check_menu
from zipformer.config.method import MethodConfig, check_method
from zipformer.config.sections import (
    SCALES,
    ContextConfig,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    ScheduleConfig,
    ScoringConfig,
    TrainConfig,
    ValidationConfig,
)
from zipformer.context import UNLIMITED, parse_contexts
from zipformer.nn.baselines.config import ConformerConfig, ContextNetConfig, TransformerConfig
from zipformer.nn.zipformer.config import ZipformerConfig

# The first one is meant where a config names none.
AnyEncoderConfig = ZipformerConfig | ConformerConfig | TransformerConfig | ContextNetConfig


@dataclass(frozen=True)
class RunConfig:
    """One run: what a recipe's TOML holds.

    Raises:
        ValueError: If settings contradict each other, naming the key.
    """

    encoder: AnyEncoderConfig = ZipformerConfig()
    model: ModelConfig = ModelConfig()
    context: ContextConfig = ContextConfig()
    loss: LossConfig = LossConfig()
    method: MethodConfig = MethodConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    validation: ValidationConfig = ValidationConfig()
    scoring: ScoringConfig = ScoringConfig()

    def __post_init__(self) -> None:
        self._check_heads()
        if not 0.0 <= self.context.windowed_share <= 1.0:
            raise ValueError("context.windowed_share must lie between 0 and 1")
        if 0.0 < self.context.max_window_ratio < 1.0 or self.context.max_window_ratio < 0.0:
            raise ValueError(
                f"context.max_window_ratio {self.context.max_window_ratio:g} is below 1, the ratio "
                "without right context; use 1 or more, or 0 for no limit"
            )
        check_method(
            self.method,
            self.model,
            self.loss,
            self.context,
            views=self.data.spec_augment.views,
            causal=self.encoder.causal,
        )
        self._check_contexts()
        self._check_processes()
        self._check_volume()
        self.data.check_corpora()

    def _check_volume(self) -> None:
        low, high = self.data.volume
        if not 0.0 < low <= high < float("inf"):
            raise ValueError(
                f"data.volume = [{low:g}, {high:g}]: samples are multiplied by a factor between "
                "these two, so give the smaller one first and both above 0, as in [0.1, 2.0]"
            )
        if not 0.0 <= self.data.volume_prob <= 1.0:
            raise ValueError(
                f"data.volume_prob = {self.data.volume_prob:g}: it is a share, from 0 to 1"
            )

    def _check_heads(self) -> None:
        heads = self.model.heads
        if not {"transducer", "ctc"} & set(heads):
            what = "an attention decoder alone" if heads else "no head"
            raise ValueError(
                f"model: {what} recognises nothing: set model.transducer = true or model.ctc = true"
            )
        scales = {head: getattr(self.loss, key) for head, key in SCALES.items()}
        for head, scale in scales.items():
            key = f"loss.{SCALES[head]}"
            if scale < 0:
                raise ValueError(f"{key} = {scale:g} is negative; 0 leaves the loss out")
            if scale > 0 and head not in heads:
                raise ValueError(f"{key} > 0 needs model.{head} = true; or set {key} = 0")
        if not any(scales.values()):
            keys = " or ".join(f"loss.{SCALES[head]}" for head in heads)
            raise ValueError(f"loss: nothing would be learned; set {keys} above 0")
        if not 0.0 <= self.loss.label_smoothing < 1.0:
            raise ValueError("loss.label_smoothing must be at least 0 and less than 1")

    def _check_processes(self) -> None:
        processes, accumulate = self.train.processes, self.train.accumulate
        if accumulate < 1:
            raise ValueError(f"train.accumulate = {accumulate}: a step has at least one batch")
        if processes != "auto" and (processes < 1 or accumulate % processes):
            raise ValueError(
                f"train.processes = {processes} cannot share the batches of a step evenly, "
                f"train.accumulate = {accumulate}: set them such that the first divides the "
                "second, or train.processes = auto"
            )

    def _check_contexts(self) -> None:
        if not self.encoder.causal and self.context.chunk != (UNLIMITED,):
            raise ValueError("encoder.causal = false needs context.chunk = [-1]")
        check_menu(self.context, self.encoder)
        for context in parse_contexts(self.validation.contexts):
            try:
                self.encoder.check_context(context)
            except ValueError as error:
                raise ValueError(f"validation.contexts: {error}") from None
