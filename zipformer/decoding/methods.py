"""Search methods by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zipformer.decoding.greedy_search import GreedySearch
from zipformer.decoding.protocol import Decoder
from zipformer.model import Transducer

UNK = "<unk>"


def make_decoder(model: Transducer, tokens: Sequence[str], method: str = "greedy") -> Decoder[Any]:
    """The search method of that name over the model's predictor and joiner.

    Args:
        model: On the device to use.
        tokens: The piece of every token id; ``<unk>`` is treated as blank, nothing is written.
        method: Its name.

    Raises:
        ValueError: If there is no such method, listing those there are.
    """
    if method != "greedy":
        raise ValueError(f"unknown search method {method!r}; there is: greedy")
    unk_id = list(tokens).index(UNK) if UNK in tokens else None
    return GreedySearch(model.predictor, model.joiner, model.predictor.blank_id, unk_id)
