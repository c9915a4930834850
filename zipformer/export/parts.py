"""What an export is made of."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

from zipformer.context import Context
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor
from zipformer.model import SpeechModel, require_transducer
from zipformer.nn.streaming_encoder import StreamingEncoder


@dataclass(frozen=True)
class TransducerParts:
    """An encoder, with the predictor and the joiner that hear it.

    Args:
        encoder: On the CPU, as all parts, in float32 and evaluation mode.
        predictor: Of the transducer.
        joiner: Of the transducer.
    """

    encoder: StreamingEncoder
    predictor: StatelessPredictor
    joiner: Joiner
    ctc_output: ClassVar[None] = None
    attention_decoder: ClassVar[None] = None

    @classmethod
    def of(cls, model: SpeechModel, context: Context, what: str) -> TransducerParts:
        """Copies of the parts that a model uses at a context; the model is not changed.

        Args:
            model: On any device.
            context: Which decides about the heads, where streaming contexts have their own.
            what: What cannot do without a transducer, to begin the error message with.

        Raises:
            ValueError: If the model is no transducer.
        """
        predictor, joiner = require_transducer(model.heads_at(context), what)
        parts = copy.deepcopy((model.encoder, predictor, joiner))
        for part in parts:
            part.cpu().float().eval().requires_grad_(False)
        return cls(*parts)
