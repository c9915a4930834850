"""What an export is made of."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import nn

from zipformer.context import Context
from zipformer.export.options import Head
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor
from zipformer.model import SpeechModel, require_transducer
from zipformer.nn.streaming_encoder import StreamingEncoder

Part = TypeVar("Part", bound=nn.Module)


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

    @property
    def projection(self) -> nn.Module:
        """What follows the encoder in its graph."""
        return self.joiner.encoder_proj


@dataclass(frozen=True)
class CtcParts:
    """An encoder with a CTC head.

    Args:
        encoder: On the CPU, as all parts, in float32 and evaluation mode.
        ctc_output: The head.
    """

    encoder: StreamingEncoder
    ctc_output: nn.Module
    predictor: ClassVar[None] = None
    joiner: ClassVar[None] = None
    attention_decoder: ClassVar[None] = None

    @property
    def projection(self) -> nn.Module:
        """What follows the encoder in its graph."""
        return self.ctc_output


Parts = TransducerParts | CtcParts


def parts_of(model: SpeechModel, context: Context, head: Head) -> Parts:
    """Copies of the parts that a model uses at a context; the model is not changed.

    Args:
        model: On any device.
        context: Which decides about the heads, where streaming contexts have their own.
        head: Which one is wanted.

    Raises:
        ValueError: If the model lacks it, naming the heads that it has.
    """
    heads = model.heads_at(context)
    if head == "transducer":
        what = "an export of the transducer (--head ctc is the other one) needs"
        predictor, joiner = require_transducer(heads, what)
        return TransducerParts(_copy(model.encoder), _copy(predictor), _copy(joiner))
    if heads.ctc_output is None:
        raise ValueError(
            "an export of the CTC head (--head ctc) needs one (model.ctc = true), which this model "
            "has not: leave --head out"
        )
    return CtcParts(_copy(model.encoder), _copy(heads.ctc_output))


def _copy(part: Part) -> Part:
    return copy.deepcopy(part).cpu().float().eval().requires_grad_(False)
