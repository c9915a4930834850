"""How much audio a batch may have before memory runs out."""

from __future__ import annotations

import torch

from zipformer.config import ContextConfig
from zipformer.diagnosis.check import Found, Setting
from zipformer.diagnosis.speech import spread
from zipformer.diagnosis.speed import Size, encoder_of
from zipformer.diagnosis.steps import Trainer
from zipformer.training.out_of_memory import is_out_of_memory

LONGEST = 16.0  # seconds of the longest utterance
FIRST, MOST = 200.0, 12800.0  # seconds of audio that are tried first, and at most
CLOSE_ENOUGH = 1.1  # between what fits and what does not


def check_largest(setting: Setting, size: Size) -> Found:
    """Tries batches at the contexts that need most memory: doubles them, then halves the gap.

    Raises:
        RuntimeError: If the smallest does not fit.
    """
    folder = setting.subfolder("steps")
    trainer = Trainer(folder, "cuda", "auto", encoder_of(size), ContextConfig())
    fits, too_much = 0.0, FIRST
    while too_much <= MOST and _fits(trainer, too_much):
        fits, too_much = too_much, 2 * too_much
    if fits == 0.0:
        raise RuntimeError(f"a batch of {FIRST:.0f} s does not fit into memory")
    if fits == MOST:
        return Found(f"data.max_duration up to {MOST:.0f} at least")
    while too_much > CLOSE_ENOUGH * fits:
        middle = (fits + too_much) / 2
        fits, too_much = (middle, too_much) if _fits(trainer, middle) else (fits, middle)
    return Found(f"data.max_duration up to {fits:.0f}, in {trainer.precision.name}")


def _fits(trainer: Trainer, seconds: float) -> bool:
    """Whether a step of so much audio finds memory; the optimizer's is taken from the first on."""
    try:
        batch = trainer.batch(spread(seconds, LONGEST))
        for step in trainer.task.heaviest():
            trainer.update.try_out(batch, step)
        trainer.step(batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    torch.cuda.empty_cache()
    return False
