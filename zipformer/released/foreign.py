"""What weights seem to be that are no Zipformer's."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SIGNS = (
    (r"encoder\.encoders\.\d+\..*(self_attn\.linear_pos|pooling|squeeze)", "the first Zipformer"),
    (r".*emformer", "an Emformer"),
    (r"(encoder\.)+layers\.\d+\.(conv_module|conv)\.|.*linear_pos", "a Conformer"),
    (r".*(lstm|weight_hh)", "an LSTM"),
    (r".*wav2vec|.*hubert|.*feature_extractor\.conv_layers", "a model of raw audio (wav2vec)"),
    (r".*(self_attn|attn)\.", "a Transformer"),
)


def seems_to_be(names: Iterable[str]) -> str:
    """The architecture that names of parameters point to, for an error message."""
    listed = list(names)
    for pattern, what in _SIGNS:
        if any(re.match(pattern, name) for name in listed):
            return what
    return "something unknown"
