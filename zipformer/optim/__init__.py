"""The optimizer and the learning-rate schedule that Zipformer is trained with, and plain Adam."""

from zipformer.optim.adam import Adam
from zipformer.optim.eden import Eden
from zipformer.optim.learning_rate import LearningRate
from zipformer.optim.noam import Noam
from zipformer.optim.scaled_adam import ClipInfo, ScaledAdam

__all__ = ["Adam", "ClipInfo", "Eden", "LearningRate", "Noam", "ScaledAdam"]
