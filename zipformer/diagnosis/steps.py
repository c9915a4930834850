"""A real training step on the device, in every number format, against the same step on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from zipformer.config import ContextConfig, DataConfig, RunConfig
from zipformer.data.batch import Batch
from zipformer.data.sampler import Share
from zipformer.diagnosis.check import Found, Setting, Skip
from zipformer.diagnosis.operations import exact_float32
from zipformer.diagnosis.speech import TINY, random_batch, spread, write_tokenizer
from zipformer.nn.schedule import set_progress
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.optim import ScaledAdam
from zipformer.training.asr import AsrTask
from zipformer.training.distributed import Processes
from zipformer.training.precision import Precision
from zipformer.training.step import StepResult, Updater

Format = Literal["fp32", "bf16", "fp16"]

# Largest differences to float32 on a CPU: of the loss in parts of it, of all gradients together in
# parts of their norm. Regularizers turn signs of small gradients into decisions.
BOUNDS: Mapping[Format, tuple[float, float]] = {
    "fp32": (1e-4, 0.01),
    "bf16": (0.02, 0.2),
    "fp16": (0.01, 0.05),
}
PROGRESS = 2000.0  # reference batches: all regularizers, dropout and skips are on


DRAWS: tuple[Callable[..., Tensor], ...] = (torch.rand,)  # what draws inside a model


class DrawsOfTheCpu(TorchFunctionMode):
    """Inside, ``torch.rand`` draws on a CPU what it is asked to draw on any device."""

    def __torch_function__(
        self,
        func: Callable[..., Tensor],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> Tensor:
        """Every call of a function of torch comes here."""
        given = dict(kwargs or {})
        if func not in DRAWS:
            return func(*args, **given)
        device = given.pop("device", None) or "cpu"
        assert isinstance(device, torch.device | str)
        return func(*args, **given).to(device)


@dataclass(frozen=True)
class Step:
    """What a step has computed: the loss per output frame, and all gradients as one vector."""

    loss: float
    gradient: Tensor


def check_step(setting: Setting, format: Format) -> Found:
    """Takes a step of a whole recognizer as ``Updater`` does, and compares it with the CPU's.

    Raises:
        ArithmeticError: If loss or gradients are too far away.
    """
    if setting.device == "cpu" and format == "fp32":
        raise Skip("this is what the other formats are compared with")
    folder = setting.subfolder("steps")
    small = setting.device == "cpu"
    wanted = _take(folder, "cpu", "fp32", small)
    found = _take(folder, setting.device, format, small)
    loss = abs(found.loss - wanted.loss) / abs(wanted.loss)
    gradient = ((found.gradient - wanted.gradient).norm() / wanted.gradient.norm()).item()
    what = (
        f"loss {found.loss:.4f}, on a CPU {wanted.loss:.4f}; gradients differ by "
        f"{100 * gradient:.2g} % of their norm"
    )
    loss_bound, gradient_bound = BOUNDS[format]
    if not (loss <= loss_bound and gradient <= gradient_bound):
        raise ArithmeticError(
            f"{what}; allowed are {100 * loss_bound:g} % of the loss and "
            f"{100 * gradient_bound:g} % of the norm"
        )
    return Found(what)


@functools.cache
def _take(folder: Path, device: Literal["cpu", "cuda"], format: Format, small: bool) -> Step:
    """Takes one step; TF32 is off."""
    trainer = Trainer(folder, device, format, TINY if small else ZipformerConfig.small(causal=True))
    batch = trainer.batch(spread(6.0, 2.0) if small else spread(30.0, 10.0))
    gradients: list[Tensor] = []

    def keep(optimizer: Optimizer, args: object, kwargs: object) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]  # not used
        gradients.extend(grad.flatten().double().cpu() for grad in grads)

    trainer.optimizer.register_step_pre_hook(keep)
    with exact_float32(), DrawsOfTheCpu():
        result = trainer.step(batch)
    if not result.updated:
        raise ArithmeticError(f"the step in {format} changed nothing: {result.why}")
    info = result.info
    return Step((info["loss"] / info["frames"]).item(), torch.cat(gradients))


class Trainer:
    """A fresh recognizer with what a run has to move it, and without data.

    Args:
        folder: For the token set.
        device: Where it is.
        format: What it computes in; ``auto`` as for a run.
        encoder: Its sizes.
        context: Menus; chunk, left and right context of one stream by default.
        vocab_size: Tokens.
    """

    def __init__(
        self,
        folder: Path,
        device: Literal["cpu", "cuda"],
        format: Format | Literal["auto"],
        encoder: ZipformerConfig,
        context: ContextConfig | None = None,
        vocab_size: int = 500,
    ) -> None:
        tokenizer = folder / f"bpe-{vocab_size}.model"
        if not tokenizer.exists():
            write_tokenizer(tokenizer, vocab_size)
        one_context = ContextConfig(chunk=(32,), left=(128,), right=(64,))
        data = DataConfig(bpe_model=tokenizer)
        self.config = RunConfig(encoder=encoder, context=context or one_context, data=data)
        self.task = AsrTask(self.config)
        self.precision = Precision(device, format, slow_fp16=True)
        torch.manual_seed(0)
        self.model = self.task.build_model().to(self.precision.device).train()
        set_progress(self.model, PROGRESS)
        self.optimizer = ScaledAdam(
            list(self.model.named_parameters()), lr=0.03, clipping_scale=2.0
        )
        self.update = Updater(
            self.task, self.model, self.optimizer, self.precision, Processes(), Share()
        )
        self.number = self.config.loss.warm_steps  # the pruned loss has its whole weight

    def batch(self, seconds: list[float], seed: int = 1) -> Batch:
        """A random one on the device, of utterances that long."""
        drawn = random_batch(
            seconds, self.config.encoder.num_features, self.task.tokenizer.vocab_size, seed
        )
        return drawn.to(self.precision.device)

    def step(self, batch: Batch) -> StepResult:
        """Takes the next step; in float16 the first ones may only lower the scale of the loss."""
        result = self.update([batch], self.number)
        self.number += 1
        return result
