"""Keys of a config by what they mean for a run that goes on, or is compared with another."""

from __future__ import annotations

from collections.abc import Mapping

from zipformer.config.toml import Plain

# What may change between two starts of a run without a warning: where it reads and writes, how
# long it goes on, and what it reports on the way.
CHANGEABLE_KEYS = (
    "train.exp_dir",
    "train.init_from",
    "train.num_epochs",
    "train.max_steps",
    "train.device",
    "train.processes",
    "train.max_nonfinite",
    "train.oom",
    "train.scan",
    "train.log_every",
    "train.valid_every",
    "train.save_every",
    "train.save_minutes",
    "train.keep_last",
    "train.tensorboard",
    "data.num_workers",
    "data.valid",
    "data.test",
    "data.bpe_model",
    "validation",
    "scoring",
)
# What must not change: the weights, or what the optimizer remembers of them, would not fit.
FIXED_KEYS = ("encoder", "model", "optim.kind")


def flatten(config: Mapping[str, Plain], prefix: str = "") -> dict[str, Plain]:
    """Nested sections as dotted keys: ``{"train": {"seed": 1}}`` gives ``{"train.seed": 1}``."""
    flat: dict[str, Plain] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def is_under(key: str, sections: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of ``sections`` or lies below one."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)
