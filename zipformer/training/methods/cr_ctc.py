"""Two views of every utterance, masked apart, that CTC shall hear alike."""

from __future__ import annotations

import torch

from zipformer.data.batch import Batch
from zipformer.model import AsrModel
from zipformer.training.methods.base import Method, StepInfo, StepLoss
from zipformer.training.methods.encodings import Between, Encoding, ctc_distance, sum_up
from zipformer.training.methods.head_losses import make_targets


class CrCtc(Method):
    """CR-CTC (arXiv 2410.05101): the losses of the views are averaged."""

    def loss(self, model: AsrModel, batch: Batch, step: StepInfo) -> StepLoss:
        """The losses of both views in one context, and the distance of their CTC outputs."""
        assert batch.second is not None, "the config asks for two views"
        features = torch.cat([batch.features, batch.second])
        out, lengths = model.encoder(
            features, batch.feature_lens.repeat(2), step.context, step.right_mode
        )
        lengths = lengths[: len(batch.feature_lens)]
        heads = model.heads_at(step.context)
        targets = make_targets(heads, batch)
        views = zip(("first", "second"), out.chunk(2), strict=True)
        encodings = [Encoding(name, 0.5, heads, view, targets) for name, view in views]
        distance = ctc_distance(encodings, lengths)
        between: Between = {"ctc_consistency": (self.settings.ctc_consistency, distance)}
        return sum_up(encodings, lengths, between, step, self.loss_settings)
