"""Losses: pure functions of tensors, without a model or a config."""

from zipformer.losses.attention import attention_loss
from zipformer.losses.backend import transducer_backend
from zipformer.losses.ctc import ctc_loss
from zipformer.losses.joined import pruned_joiner_loss
from zipformer.losses.lattice import lattice_log_prob
from zipformer.losses.pruned import prune, prune_ranges, pruned_transducer_loss
from zipformer.losses.smoothed import smoothed_transducer_loss
from zipformer.losses.transducer import transducer_losses

__all__ = [
    "attention_loss",
    "ctc_loss",
    "lattice_log_prob",
    "prune",
    "prune_ranges",
    "pruned_joiner_loss",
    "pruned_transducer_loss",
    "smoothed_transducer_loss",
    "transducer_backend",
    "transducer_losses",
]
