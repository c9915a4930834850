"""The optimizer and the learning-rate schedule that Zipformer is trained with."""

from zipformer.optim.eden import Eden
from zipformer.optim.scaled_adam import ClipInfo, ScaledAdam

__all__ = ["ClipInfo", "Eden", "ScaledAdam"]
