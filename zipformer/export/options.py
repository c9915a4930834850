"""What an export is to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Head = Literal["transducer", "ctc"]
Form = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class Options:
    """What an export is to be.

    Args:
        head: The transducer, or the CTC head.
        int8: Writes ``encoder.int8.onnx``, ... beside the others, with weights of 8 bits.
        float16: Writes ``encoder.fp16.onnx``, ..., with weights and arithmetic in half precision;
            inputs and outputs stay as they are.
        sample_rate: Of the audio that the model was trained on, in Hz.
        about: More for the encoder's metadata and the README, such as a label of the model.
        scores: Of the tokens, where their vocabulary has some: written as ``bpe.vocab``, by which
            sherpa-onnx cuts hotwords into tokens.
    """

    head: Head = "transducer"
    int8: bool = False
    float16: bool = False
    sample_rate: int = 16000
    about: Mapping[str, str] = field(default_factory=dict)
    scores: Sequence[float] = ()

    @property
    def forms(self) -> tuple[Form, ...]:
        """Those that are written."""
        more: tuple[tuple[Form, bool], ...] = (("float16", self.float16), ("int8", self.int8))
        return ("float32", *(form for form, wanted in more if wanted))
