"""Advice on the learning rate, from published runs and from reports of runs that diverged.

The published LibriSpeech runs take base_lr 0.045 with steps of 4000 s of audio (4 x 1000) and 0.04
with 3000 s (2 x 1500). Users with smaller steps report divergence more than anything else: at 300 s
a process with base_lr 0.015 to 0.035 (icefall issue 1884) and 0.03 (1462); a fifth of the default,
0.009, helped (932). The square root rule fits the two published points and lies among the others:
0.012 at 300 s. Larger steps than 4000 s were published with 0.045 as well (17,600 s), so nothing is
advised there. Small models stand more: the digits recipe of this repository trains 1.1 M parameters
with 0.045 at 30 s a step. So this is advice, and nothing acts on it.
"""

from __future__ import annotations

import math

from zipformer.config import RunConfig

REFERENCE_LR = 0.045
REFERENCE_SECONDS = 4000.0  # audio of a step
REFERENCE_WARMUP = 500  # steps
TOLERANCE = 1.25  # times the suggested rate; the published 0.04 at 3000 s is 1.03 times
FEWEST_STEPS = 1000  # of a run; with fewer, larger steps are no way out
TRIAL_STEPS = 100  # so few say nothing about a schedule
ADAM_LR = 0.001  # a usual step size; ten times as much seldom goes well
FINETUNE_LR = 0.0045
FINETUNE_REF_SECONDS = 0.01  # the first step is over and so are all schedules
FINAL_BATCHES = 20_000  # reference batches after which dropout has its final rate
CLOCK_SHARE = 0.1  # of a run; in the published 30 epochs it is 0.04, in the digits recipe 0.16


def learning_rate_advice(
    config: RunConfig, world_size: int, epoch_seconds: float = 0.0
) -> list[str]:
    """What to know about this run's learning rate before it starts.

    Args:
        config: Of the run.
        world_size: Processes.
        epoch_seconds: Audio in an epoch, 0 if unknown. Tells how long the run is.

    Returns:
        Lines to log; none if there is nothing to say.
    """
    step_seconds = config.data.max_duration * world_size * config.train.accumulate
    run_seconds = _run_seconds(config, step_seconds, epoch_seconds)
    steps = int(run_seconds / step_seconds)
    if config.optim.lr_schedule == "noam":
        return [*_noam_advice(config), *_warmup_advice(config, steps)]
    if config.optim.kind == "adam":
        return _adam_advice(config)
    if config.train.init_from is not None:
        return [*_finetune_advice(config), *_warmup_advice(config, steps)]
    return [
        *_step_advice(config, step_seconds, world_size, steps),
        *_warmup_advice(config, steps),
        *_clock_advice(config, run_seconds),
    ]


def suggested_lr(step_seconds: float) -> float:
    """The published base_lr, scaled to steps of ``step_seconds`` of audio; never above it."""
    return REFERENCE_LR * _scale(step_seconds)


def suggested_warmup(step_seconds: float) -> int:
    """Steps of warm-up in which ``suggested_lr`` rises as much per second as the published one."""
    return round(REFERENCE_WARMUP / _scale(step_seconds))


def _scale(step_seconds: float) -> float:
    return min(1.0, math.sqrt(step_seconds / REFERENCE_SECONDS))


def _run_seconds(config: RunConfig, step_seconds: float, epoch_seconds: float) -> float:
    """Audio of the whole run, about; 0 if unknown, or if the run is but a trial."""
    seconds = epoch_seconds * config.train.num_epochs
    if config.train.max_steps > 0:
        by_steps = config.train.max_steps * step_seconds
        seconds = min(seconds, by_steps) if seconds else by_steps
    return seconds if seconds > TRIAL_STEPS * step_seconds else 0.0


def _adam_advice(config: RunConfig) -> list[str]:
    lr = config.optim.base_lr
    if lr <= 10 * ADAM_LR:
        return []
    return [
        f"optim.base_lr = {lr:g} is a rate of scaled_adam, a relative change per step; with "
        f"optim.kind = adam it is absolute: --base-lr {ADAM_LR:g}"
    ]


def _noam_advice(config: RunConfig) -> list[str]:
    optim = config.optim
    highest = optim.base_lr * (optim.noam_dim * max(1.0, optim.warmup_batches)) ** -0.5
    usual = ADAM_LR if optim.kind == "adam" else REFERENCE_LR
    if usual / 10 <= highest <= 10 * usual:
        return []
    return [
        f"optim.base_lr = {optim.base_lr:g} is a factor with optim.lr_schedule = noam, and the "
        f"rate rises to {highest:.2g}; that of {optim.kind} is usually {usual:g} or so: "
        f"--base-lr {optim.base_lr * usual / highest:.2g}"
    ]


def _finetune_advice(config: RunConfig) -> list[str]:
    lr, ref_seconds = config.optim.base_lr, config.schedule.ref_seconds
    lines = []
    if lr > 2 * FINETUNE_LR:
        lines.append(
            f"optim.base_lr = {lr:g} is the rate of a new model: it undoes much of what "
            "train.init_from brings. The published preset for fine-tuning is nearly constant: "
            f"--base-lr {FINETUNE_LR} --lr-epochs 100 --lr-batches 100000"
        )
    if ref_seconds > FINETUNE_REF_SECONDS:
        lines.append(
            f"schedule.ref_seconds = {ref_seconds:g} skips layers of a trained model as often as "
            f"those of a new one; --ref-seconds {FINETUNE_REF_SECONDS} begins with the final rates"
        )
    return lines


def _step_advice(config: RunConfig, step_seconds: float, world_size: int, steps: int) -> list[str]:
    lr, suggested = config.optim.base_lr, suggested_lr(step_seconds)
    if lr <= TOLERANCE * suggested:
        return []
    settings, warmup = config.data, suggested_warmup(step_seconds)
    lines = [
        f"a step is {step_seconds:g} s of audio (max_duration {settings.max_duration:g} x "
        f"{world_size} processes x accumulate {config.train.accumulate}) with optim.base_lr = "
        f"{lr:g}; published: 0.045 at 4000 s, 0.04 at 3000 s. Smaller steps with such rates are "
        "what diverges most often",
        f"if the loss rises again: --base-lr {suggested:.2g} --warmup-batches "
        f"{_at_most_a_tenth(warmup, steps)} (0.045 x sqrt({step_seconds:g} / 4000); it rises as "
        "slowly per second of audio)",
    ]
    if not steps or steps * step_seconds > FEWEST_STEPS * REFERENCE_SECONDS:
        accumulate = math.ceil(REFERENCE_SECONDS / (settings.max_duration * world_size))
        lines.append(f"or larger steps at the published rate: --accumulate {accumulate}")
    return lines


def _warmup_advice(config: RunConfig, steps: int) -> list[str]:
    warmup = config.optim.warmup_batches
    if not steps or warmup <= steps / 5:
        return []
    return [
        f"optim.warmup_batches = {warmup:g} is more than a fifth of this run's about {steps} "
        f"steps: --warmup-batches {_at_most_a_tenth(warmup, steps)} would be a tenth"
    ]


def _at_most_a_tenth(warmup: float, steps: int) -> int:
    return min(round(warmup), max(1, steps // 10)) if steps else round(warmup)


def _clock_advice(config: RunConfig, run_seconds: float) -> list[str]:
    final = FINAL_BATCHES * config.schedule.ref_seconds
    if not run_seconds or final <= run_seconds / 2:
        return []
    return [
        f"dropout and layer skipping reach their final rates after {_hours(final)} of audio, "
        f"this run has {_hours(run_seconds)}: --ref-seconds "
        f"{CLOCK_SHARE * run_seconds / FINAL_BATCHES:.2g} would be a tenth of it"
    ]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds >= 36000 else f"{seconds / 3600:.1f} h"
