"""Keys of a config by what they mean for a run that goes on, or is compared with another."""

from __future__ import annotations

from typing import Any

# What may change between two starts of a run without a word.
FREE_KEYS = (
    *(f"train.{k}" for k in ("exp_dir", "num_epochs", "max_steps", "device", "max_nonfinite")),
    *(f"train.{k}" for k in ("log_every", "valid_every", "save_every", "keep_last", "tensorboard")),
    *(f"train.{k}" for k in ("save_minutes", "oom", "scan", "init_from")),
    *("data.num_workers", "data.test", "data.valid", "data.bpe_model", "validation"),
)
# What must not: the weights, or what the optimizer remembers of them, would not fit.
FIXED_KEYS = ("encoder", "model", "optim.kind")


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys: ``{"train": {"seed": 1}}`` gives ``{"train.seed": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def is_under(key: str, sections: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of ``sections`` or lies below one."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)
