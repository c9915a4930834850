"""Every knob of a run: TOML and command line in, one checked config out, and back to TOML."""

from zipformer.config.method import MethodConfig
from zipformer.config.run import AnyEncoderConfig, RunConfig
from zipformer.config.sections import (
    SCALES,
    ContextConfig,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    ScheduleConfig,
    ScoringConfig,
    SpecAugmentConfig,
    TrainConfig,
    ValidationConfig,
    WeightedManifest,
)

__all__ = [
    "SCALES",
    "AnyEncoderConfig",
    "ContextConfig",
    "DataConfig",
    "LossConfig",
    "MethodConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "ScheduleConfig",
    "ScoringConfig",
    "SpecAugmentConfig",
    "TrainConfig",
    "ValidationConfig",
    "WeightedManifest",
]
