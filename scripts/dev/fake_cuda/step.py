"""Whole training steps on fake CUDA tensors: losses, backward pass, clipping, ScaledAdam."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from scripts.dev.fake_cuda.counter import StepCounter
from scripts.dev.fake_cuda.device import CUDA, pretended
from zipformer.config import RunConfig
from zipformer.data.batch import Batch
from zipformer.data.sampler import Share
from zipformer.model import AsrModel
from zipformer.nn import gradients, regularizers
from zipformer.nn.regularizers import Whiten
from zipformer.nn.schedule import set_progress
from zipformer.nn.zipformer import attention, layer
from zipformer.optim import ScaledAdam
from zipformer.training import whitening
from zipformer.training.asr import AsrTask
from zipformer.training.distributed import Processes
from zipformer.training.methods.base import StepInfo
from zipformer.training.precision import Precision
from zipformer.training.step import Updater

TOKENS_A_SECOND = 5  # of English in 500 pieces, about
PROGRESS = 20_000.0  # reference batches: where schedules have come to rest
NUMBER = 3_000  # of the step: the pruned loss has its whole weight

Chance = Callable[[float], bool]


@dataclass(frozen=True)
class Load:
    """What a step works on.

    Args:
        seconds: Audio of the batch.
        longest: Seconds of its longest utterance; the shortest has a tenth less.
        vocab_size: Tokens.
        steps: The last of so many is counted: in the first one the optimizer makes its state.
        every_branch: Whether all that happens by chance happens, and not as often as it should.
    """

    seconds: float = 600.0
    longest: float = 15.0
    vocab_size: int = 500
    steps: int = 2
    every_branch: bool = False


def count_step(config: RunConfig, precision: str, load: Load) -> StepCounter:
    """Takes training steps as ``config`` says, in the first context of its menus.

    Args:
        config: ``data.bpe_model`` must exist; nothing else of ``data`` is used.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        load: What a step works on.

    Returns:
        What the last step did.

    Raises:
        RuntimeError: If a tensor of the CPU meets one of the device.
    """
    counter = StepCounter()
    torch.manual_seed(0)
    batch = batch_of(config, load)
    task = AsrTask(config)
    drawn = task.draw(NUMBER)
    with (
        pretended(counter.launched),
        _drawing(_every if load.every_branch else _seeded()),
        torch.autograd.set_multithreading_enabled(False),
        FakeTensorMode() as mode,
    ):
        with CUDA:
            model = AsrModel.of(config, load.vocab_size).train()
        set_progress(model, PROGRESS)
        optimizer = ScaledAdam(list(model.named_parameters()), lr=0.045, clipping_scale=2.0)
        update = Updater(task, model, optimizer, _precision(precision), Processes(), Share())
        pinned = batch._moved(mode.from_tensor)
        with (
            counter.watching(),
            _phases(counter, task, optimizer),
            patch.object(task, "draw", lambda step: replace(drawn, step=step)),
        ):
            counter.track([*model.parameters(), *model.buffers()])
            for step in range(NUMBER, NUMBER + load.steps):
                counter.start()
                counter.phase = "copy"
                result = update([pinned.to(CUDA)], step)
                assert result.updated
    return counter


def batch_of(config: RunConfig, load: Load) -> Batch:
    """Utterances of random features, longest first."""
    count = max(int(load.seconds // load.longest), 1)
    longest = int(100 * load.longest)
    lengths = [int(longest * (1 - 0.1 * i / count)) for i in range(count)]
    tokens = [[1] * int(n / 100 * TOKENS_A_SECOND) for n in lengths]
    features = torch.zeros(count, longest, config.encoder.num_features)
    second = features.clone() if config.data.spec_augment.views == 2 else None
    names = ["x"] * count
    return Batch(features, torch.tensor(lengths), tokens, names, names, sum(lengths) / 100, second)


def _precision(name: str) -> Precision:
    precision = Precision("cpu", "bf16" if name == "bf16" else "fp32")
    precision.device, precision.name = CUDA, name
    precision.scaler = torch.amp.GradScaler("cuda", init_scale=1.0, enabled=name == "fp16")
    return precision


def _every(prob: float) -> bool:
    return prob > 0.0


def _seeded() -> Chance:
    drawn = random.Random(1)
    return lambda prob: prob > 0.0 and drawn.random() < prob


@contextmanager
def _drawing(chance: Chance) -> Iterator[None]:
    """Fake tensors hold no random numbers: decisions come from elsewhere."""
    with ExitStack() as stack:
        for module in (attention, gradients, layer, regularizers):
            stack.enter_context(patch.object(module, "chance", chance))
        yield


@contextmanager
def _phases(counter: StepCounter, task: AsrTask, optimizer: ScaledAdam) -> Iterator[None]:
    """Names what a step is doing while it does it."""
    settle, loss = whitening.settle_whitening, task.loss

    def named_loss(
        model: nn.Module, batch: Batch, step: StepInfo
    ) -> tuple[Tensor, dict[str, Tensor]]:
        counter.phase = "forward"
        found = loss(model, batch, step)
        counter.phase = "backward"
        return found

    def named_settle(modules: Iterable[Whiten]) -> None:
        settle(modules)
        counter.phase = "clip"

    def optimizing(*_: object) -> None:
        counter.phase = "optimizer"

    handle = optimizer.register_step_pre_hook(optimizing)
    with (
        patch.object(task, "loss", named_loss),
        patch.object(whitening, "settle_whitening", named_settle),
    ):
        yield
    handle.remove()
