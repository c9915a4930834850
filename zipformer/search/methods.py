"""Search methods by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from zipformer.model import SpeechModel, heads_of
from zipformer.search.attention_rescoring import AttentionRescoring
from zipformer.search.beam_search import ModifiedBeamSearch
from zipformer.search.ctc_prefix_search import CtcPrefixBeamSearch
from zipformer.search.ctc_search import CtcGreedySearch
from zipformer.search.greedy_search import GreedySearch
from zipformer.search.protocol import BeamDecoder, Decoder

UNK = "<unk>"
GREEDY, BEAM_SEARCH = "greedy", "modified_beam_search"
CTC_GREEDY, CTC_BEAM_SEARCH = "ctc_greedy", "ctc_prefix_beam_search"
RESCORING = "attention_rescoring"
METHODS = (GREEDY, BEAM_SEARCH, CTC_GREEDY, CTC_BEAM_SEARCH, RESCORING)

# The heads that a method needs; one of several sets.
_NEEDED: dict[str, list[set[str]]] = {
    GREEDY: [{"transducer"}],
    BEAM_SEARCH: [{"transducer"}],
    CTC_GREEDY: [{"ctc"}],
    CTC_BEAM_SEARCH: [{"ctc"}],
    RESCORING: [{"attention_decoder", "transducer"}, {"attention_decoder", "ctc"}],
}
FIRST_PASSES = {"transducer": BEAM_SEARCH, "ctc": CTC_BEAM_SEARCH}  # of rescoring, by head


class _Method(NamedTuple):
    """What a name says."""

    kind: str
    beam: int = 0
    weight: float = 0.0
    first: str | None = None


def method_name(
    method: str, beam: int = 4, weight: float = 0.5, first_pass: str | None = None
) -> str:
    """The name of a method with what it depends on, under which results are filed.

    Args:
        method: One of ``METHODS``; other names, such as those with a beam, stay as they are.
        beam: Hypotheses that a beam search follows.
        weight: Of the attention decoder in rescoring, from 0 to 1.
        first_pass: Whose hypotheses are rescored, ``transducer`` or ``ctc``; None for those of the
            transducer if the model is one.

    Example:
        >>> method_name("greedy"), method_name("modified_beam_search", 8)
        ('greedy', 'modified_beam_search-beam8')
        >>> method_name("attention_rescoring", 8, 0.3, "ctc")
        'attention_rescoring-ctc-beam8-weight0.3'
    """
    if method in (BEAM_SEARCH, CTC_BEAM_SEARCH):
        return f"{method}-beam{beam}"
    if method == RESCORING:
        first = f"-{first_pass}" if first_pass else ""
        return f"{method}{first}-beam{beam}-weight{weight:g}"
    return method


def greedy_method(model: SpeechModel) -> str:
    """The greedy search of a model: of its transducer, or else of its CTC head."""
    return GREEDY if model.joiner is not None else CTC_GREEDY


def check_method(model: SpeechModel, method: str) -> None:
    """Sees to it that a model has the heads that a method needs.

    Raises:
        ValueError: If there is no such method, listing those there are; or if a head is missing,
            naming the heads that the model has and the methods that they allow.
    """
    asked, there = _parse(method), heads_of(model)
    needed = _NEEDED[asked.kind]
    if asked.first:
        needed = [{"attention_decoder", asked.first}]
    if any(heads <= set(there) for heads in needed):
        return
    wanted = " or ".join(" and ".join(sorted(heads)) for heads in needed)
    allowed = [m for m in METHODS if any(heads <= set(there) for heads in _NEEDED[m])]
    raise ValueError(
        f"method {method} needs the heads {wanted}; this model has {', '.join(there) or 'none'}, "
        f"which allow: {', '.join(allowed) or 'no method'}"
    )


def make_decoder(
    model: SpeechModel, tokens: Sequence[str], method: str | None = None
) -> Decoder[Any]:
    """The search method of that name over the model's heads.

    Args:
        model: On the device to use.
        tokens: The piece of every token id; ``<unk>`` is treated as blank, nothing is written.
        method: One of ``METHODS``, or a name that ``method_name`` gives; None for the model's
            greedy search.

    Raises:
        ValueError: As ``check_method``, and on a beam or weight that makes no sense.
    """
    method = method or greedy_method(model)
    check_method(model, method)
    asked = _parse(method)
    unk_id = list(tokens).index(UNK) if UNK in tokens else None
    if asked.kind == GREEDY:
        assert model.predictor is not None and model.joiner is not None
        return GreedySearch(model.predictor, model.joiner, model.predictor.blank_id, unk_id)
    if asked.kind == CTC_GREEDY:
        assert model.ctc_output is not None
        return CtcGreedySearch(model.ctc_output, unk_id=unk_id)
    if asked.kind == RESCORING:
        assert model.attention_decoder is not None
        first = asked.first or ("ctc" if model.joiner is None else "transducer")
        search = _beam_search(model, FIRST_PASSES[first], asked.beam, unk_id)
        return AttentionRescoring(search, model.attention_decoder, asked.weight)
    return _beam_search(model, asked.kind, asked.beam, unk_id)


def _beam_search(model: SpeechModel, kind: str, beam: int, unk_id: int | None) -> BeamDecoder[Any]:
    if kind == CTC_BEAM_SEARCH:
        assert model.ctc_output is not None
        return CtcPrefixBeamSearch(model.ctc_output, unk_id=unk_id, beam=beam)
    assert model.predictor is not None and model.joiner is not None
    blank_id = model.predictor.blank_id
    return ModifiedBeamSearch(model.predictor, model.joiner, blank_id, unk_id, beam=beam)


def _parse(method: str) -> _Method:
    """A name with what it depends on, or without: then as ``method_name`` completes it."""
    name = method_name(method)
    if name in (GREEDY, CTC_GREEDY):
        return _Method(name)
    if match := re.fullmatch(rf"({BEAM_SEARCH}|{CTC_BEAM_SEARCH})-beam(-?\d+)", name):
        return _Method(match[1], int(match[2]))
    first, number = "|".join(FIRST_PASSES), r"-?\d+\.?\d*(?:e-?\d+)?"
    pattern = rf"{RESCORING}(?:-({first}))?-beam(-?\d+)-weight({number})"
    if match := re.fullmatch(pattern, name):
        return _Method(RESCORING, int(match[2]), float(match[3]), match[1])
    examples = f"{method_name(BEAM_SEARCH, 8)}, {method_name(RESCORING, 8, 0.3, 'ctc')}"
    raise ValueError(
        f"unknown search method {method!r}; there are: {', '.join(METHODS)}, and names such as "
        f"{examples}"
    )
