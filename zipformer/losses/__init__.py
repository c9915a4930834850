"""Losses: pure functions of tensors, without a model or a config."""

from zipformer.losses.attention import attention_loss
from zipformer.losses.backend import transducer_backend
from zipformer.losses.ctc import ctc_consistency, ctc_loss
from zipformer.losses.divergence import lattice_consistency, lattice_distillation
from zipformer.losses.emission import Emission
from zipformer.losses.joined import pruned_joiner_loss
from zipformer.losses.lattice import lattice_log_prob
from zipformer.losses.pruned import prune, prune_ranges, pruned_transducer_loss
from zipformer.losses.similarity import similarity_distance
from zipformer.losses.smoothed import smoothed_transducer_loss
from zipformer.losses.transducer import transducer_losses

__all__ = [
    "Emission",
    "attention_loss",
    "ctc_consistency",
    "ctc_loss",
    "lattice_consistency",
    "lattice_distillation",
    "lattice_log_prob",
    "prune",
    "prune_ranges",
    "pruned_joiner_loss",
    "pruned_transducer_loss",
    "similarity_distance",
    "smoothed_transducer_loss",
    "transducer_backend",
    "transducer_losses",
]
