"""Search methods by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from zipformer.decoding.beam_search import ModifiedBeamSearch
from zipformer.decoding.greedy_search import GreedySearch
from zipformer.decoding.protocol import Decoder
from zipformer.model import Transducer

UNK = "<unk>"
BEAM_SEARCH = "modified_beam_search"
METHODS = ("greedy", BEAM_SEARCH)


def method_name(method: str, beam: int = 4) -> str:
    """The name of a method with what it depends on, under which results are filed.

    Args:
        method: One of ``METHODS``; other names, such as those with a beam, stay as they are.
        beam: Hypotheses that a beam search follows.

    Example:
        >>> method_name("greedy"), method_name("modified_beam_search", 8)
        ('greedy', 'modified_beam_search-beam8')
    """
    return f"{method}-beam{beam}" if method == BEAM_SEARCH else method


def make_decoder(model: Transducer, tokens: Sequence[str], method: str = "greedy") -> Decoder[Any]:
    """The search method of that name over the model's predictor and joiner.

    Args:
        model: On the device to use.
        tokens: The piece of every token id; ``<unk>`` is treated as blank, nothing is written.
        method: One of ``METHODS``, or a name that ``method_name`` gives.

    Raises:
        ValueError: If there is no such method, listing those there are.
    """
    unk_id = list(tokens).index(UNK) if UNK in tokens else None
    heads = (model.predictor, model.joiner, model.predictor.blank_id, unk_id)
    if method == "greedy":
        return GreedySearch(*heads)
    if match := re.fullmatch(rf"{BEAM_SEARCH}-beam(-?\d+)", method_name(method)):
        return ModifiedBeamSearch(*heads, beam=int(match[1]))
    there = f"{', '.join(METHODS)}, {method_name(BEAM_SEARCH, 8)} (any beam)"
    raise ValueError(f"unknown search method {method!r}; there are: {there}")
