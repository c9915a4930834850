"""The names of published parameters.

The checkpoints of the icefall recipes name their parameters by module; inside a layer our names are
the same, above it ours are plainer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# Published prefix -> ours inside a whole model; an Encoder alone has them without "encoder.".
_ENCODER_RULES = [
    (r"^encoder_embed\.conv\.0\.", "encoder.frontend.conv1."),
    (r"^encoder_embed\.conv\.4\.", "encoder.frontend.conv2."),
    (r"^encoder_embed\.conv\.7\.", "encoder.frontend.conv3."),
    (r"^encoder_embed\.", "encoder.frontend."),
    (r"^encoder\.encoders\.(\d+)\.encoder\.layers\.", r"encoder.stacks.\1.layers."),
    (r"^encoder\.encoders\.(\d+)\.", r"encoder.stacks.\1."),
    (r"^encoder\.downsample_output\.", "encoder.downsample_output."),
]
_HEAD_RULES = [
    (r"^decoder\.", "predictor."),
    (r"^joiner\.", "joiner."),
    (r"^attention_decoder\.decoder\.", "attention_decoder."),
]
_TRAINING_RULES = [(r"^(simple_am_proj|simple_lm_proj|ctc_output)\.", r"\1.")]
# Present in every published checkpoint, used by none.
_DEAD = re.compile(r"^encoder\.stacks\.\d+\.layers\.\d+\.bypass_scale$")


def rename_published(
    weights: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sorts published parameters by whether a whole model has a part for them.

    Returns:
        Those that it has, under our names; and the others as they are. Parameters that the
        published code itself never uses are in neither.
    """
    rules = [*_ENCODER_RULES, *_HEAD_RULES, *_TRAINING_RULES]
    known: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    for name, value in weights.items():
        ours = _rename(name, rules)
        if ours is not None:
            known[ours] = value
        else:
            others[name] = value
    return {n: v for n, v in known.items() if not _DEAD.match(n)}, others


def _rename(name: str, rules: list[tuple[str, str]]) -> str | None:
    for pattern, replacement in rules:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return None
