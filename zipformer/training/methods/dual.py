"""Full and streaming context in every step, through the same heads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zipformer.data.batch import Batch
from zipformer.losses import lattice_consistency, lattice_distillation
from zipformer.model import AsrModel
from zipformer.training.methods.base import Method, StepInfo, StepLoss
from zipformer.training.methods.encodings import (
    Between,
    Encoding,
    ctc_distance,
    encode_twice,
    sum_up,
)
from zipformer.training.methods.head_losses import shared_lattice


class Dual(Method):
    """Dual-mode ASR (Yu et al., ICLR 2021, Algorithm 1).

    Optionally the full context teaches the streaming one (``distill``), or both are drawn together
    (``consistency``), point by point of a pruned lattice that they share.
    """

    def loss(self, model: AsrModel, batch: Batch, step: StepInfo) -> StepLoss:
        """The losses of both contexts, and the distances between them."""
        settings = self.settings
        encodings, lengths = encode_twice(model, batch, step, settings)
        between: Between = {}
        if settings.distill > 0 or settings.consistency > 0:
            between |= self._on_a_shared_lattice(encodings, lengths)
        if settings.ctc_consistency > 0:
            distance = ctc_distance(encodings, lengths)
            between["ctc_consistency"] = settings.ctc_consistency, distance
        return sum_up(encodings, lengths, between, step, self.loss_settings)

    def _on_a_shared_lattice(self, encodings: Sequence[Encoding], lengths: Tensor) -> Between:
        """Computes the transducer losses of both, and distances on the lattice they share."""
        settings, heads, targets = self.settings, encodings[0].heads, encodings[0].targets
        losses, lattice = shared_lattice(
            heads, [e.out for e in encodings], lengths, targets, self.loss_settings
        )
        for encoding, pair in zip(encodings, losses, strict=True):
            encoding.computed.transducer = pair
        assert heads.joiner is not None, "the config asks for a transducer"
        output = heads.joiner.output_linear
        cells = lattice.lm, output, targets.tokens, lattice.ranges, lattice.boundary
        offline, streaming = lattice.am
        between: Between = {}
        if settings.distill > 0:
            distance = lattice_distillation(
                offline, streaming, *cells, shift=settings.distill_shift
            )
            between["distill"] = settings.distill, distance
        if settings.consistency > 0:
            distance = lattice_consistency(offline, streaming, *cells)
            between["consistency"] = settings.consistency, distance
        return between
