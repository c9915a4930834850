"""What the searches for transducers have in common: their constructor and the use of the heads.

Letters: B batch, J joiner dimension, S tokens that the predictor sees.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zipformer.search.heads import JoinerHead, PredictorHead
from zipformer.search.history import NOTHING
from zipformer.search.protocol import Searcher, State


class TransducerSearch(Searcher[State]):
    """A search over the predictor and joiner of a transducer, at most one token per frame.

    Args:
        predictor: Of the trained model.
        joiner: Of the trained model.
        blank_id: The token that means "nothing here".
        unk_id: A token for which nothing is emitted either; None if there is none.
    """

    def __init__(
        self,
        predictor: PredictorHead,
        joiner: JoinerHead,
        blank_id: int = 0,
        unk_id: int | None = None,
    ) -> None:
        self.predictor = predictor
        self.joiner = joiner
        self.blank_id = blank_id
        self.unk_id = blank_id if unk_id is None else unk_id

    def _first_context(self, batch_size: int) -> Tensor:
        """(B, S): before the first frame the predictor has seen a blank, before it nothing."""
        device = self.joiner.device
        size = (batch_size, self.predictor.context_size)
        context = torch.full(size, NOTHING, dtype=torch.int64, device=device)
        context[:, -1] = self.blank_id
        return context

    def _speaks(self, token: Tensor) -> Tensor:
        """Which tokens are to be emitted."""
        return (token != self.blank_id) & (token != self.unk_id)

    def _predict(self, context: Tensor) -> Tensor:
        """(B, S) tokens -> (B, J)."""
        return self.joiner.project_predictor(self.predictor(context, pad=False)).squeeze(1)
