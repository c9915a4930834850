"""One context a batch: that of the step."""

from __future__ import annotations

from zipformer.data.batch import Batch
from zipformer.model import AsrModel
from zipformer.training.methods.base import Method, StepInfo, StepLoss
from zipformer.training.methods.head_losses import head_losses, make_targets


class Single(Method):
    """Encodes a batch once. Validation uses it too, whatever the method of the run."""

    def loss(self, model: AsrModel, batch: Batch, step: StepInfo) -> StepLoss:
        """The losses of the heads for this context."""
        out, lengths = model.encoder(
            batch.features, batch.feature_lens, step.context, step.right_mode
        )
        heads = model.heads_at(step.context)
        targets = make_targets(heads, batch)
        loss, parts = head_losses(heads, out, lengths, targets, self.loss_settings, step.step)
        return StepLoss(loss, parts, lengths.sum())
