"""The names of published parameters.

The checkpoints of the icefall recipes name their parameters by module; inside a layer our names are
the same, above it ours are plainer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

_FRONTEND = {  # ours -> published; the first that fits
    "encoder.frontend.conv1.": "encoder_embed.conv.0.",
    "encoder.frontend.conv2.": "encoder_embed.conv.4.",
    "encoder.frontend.conv3.": "encoder_embed.conv.7.",
    "encoder.frontend.": "encoder_embed.",
}
_ATTENTION = "attention_decoder.decoder."
# Published prefix -> ours inside a whole model; an Encoder alone has them without "encoder.".
_ENCODER_RULES = [
    *((f"^{re.escape(theirs)}", ours) for ours, theirs in _FRONTEND.items()),
    (r"^encoder\.encoders\.(\d+)\.encoder\.layers\.", r"encoder.stacks.\1.layers."),
    (r"^encoder\.encoders\.(\d+)\.", r"encoder.stacks.\1."),
    (r"^encoder\.downsample_output\.", "encoder.downsample_output."),
]
_HEAD_RULES = [
    (r"^decoder\.", "predictor."),
    (r"^joiner\.", "joiner."),
    (f"^{re.escape(_ATTENTION)}", "attention_decoder."),
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


def published_names(ours: Iterable[str]) -> dict[str, str]:
    """The published name of every parameter of a model of ours.

    Args:
        ours: All of its names; which stacks work at a lower rate shows in them.
    """
    names = list(ours)
    lower = {name.split(".")[2] for name in names if name.endswith(".downsample.bias")}
    return {name: _published(name, lower) for name in names}


def _published(name: str, lower: set[str]) -> str:
    """One name; ``lower`` are the stacks whose layers published code wraps once more."""
    for ours, theirs in _FRONTEND.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    if match := re.match(r"encoder\.stacks\.(\d+)\.(layers\.)?", name):
        stack, layers = match[1], match[2] or ""
        wrapped = "encoder." if layers and stack in lower else ""
        return f"encoder.encoders.{stack}.{wrapped}{layers}{name[match.end() :]}"
    for ours, theirs in (("predictor.", "decoder."), ("attention_decoder.", _ATTENTION)):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
