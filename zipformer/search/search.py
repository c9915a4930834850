"""Which search, as a value; and the searcher that it means over the heads of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from zipformer.biasing import Hotwords
from zipformer.search.attention_rescoring import AttentionRescoring
from zipformer.search.beam_search import ModifiedBeamSearch
from zipformer.search.ctc_prefix_search import CtcPrefixBeamSearch
from zipformer.search.ctc_search import CtcGreedySearch
from zipformer.search.greedy_search import GreedySearch
from zipformer.search.heads import SearchHeads, heads_of
from zipformer.search.joint_beam_search import JointBeamSearch
from zipformer.search.protocol import BeamSearcher, Searcher

UNK = "<unk>"
Kind = Literal[
    "greedy",
    "modified_beam_search",
    "ctc_greedy",
    "ctc_prefix_beam_search",
    "attention_rescoring",
]
FirstPass = Literal["transducer", "ctc"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WITHOUT_BEAM: tuple[Kind, ...] = ("greedy", "ctc_greedy")
FIRST_PASSES: dict[FirstPass, Kind] = {  # of rescoring: the search over the hypotheses' head
    "transducer": "modified_beam_search",
    "ctc": "ctc_prefix_beam_search",
}

# The heads that a search needs; one of several sets.
_NEEDED: dict[Kind, list[set[str]]] = {
    "greedy": [{"transducer"}],
    "modified_beam_search": [{"transducer"}],
    "ctc_greedy": [{"ctc"}],
    "ctc_prefix_beam_search": [{"ctc"}],
    "attention_rescoring": [{"attention_decoder", "transducer"}, {"attention_decoder", "ctc"}],
}


@dataclass(frozen=True)
class Search:
    """A way to search; as text it is the name under which results are filed.

    Args:
        kind: Which algorithm.
        beam: Hypotheses that a beam search follows.
        weight: Of the attention decoder in rescoring, from 0 to 1.
        first_pass: Whose hypotheses are rescored; None for those of the transducer if there is one.
        ctc_weight: Of the CTC head in modified beam search, from 0 (it has no say) to 1.
        hotwords: Phrases that a beam search prefers.

    Example:
        >>> str(Search("greedy")), str(Search("modified_beam_search", beam=8))
        ('greedy', 'modified_beam_search-beam8')
        >>> str(Search("attention_rescoring", 8, 0.3, "ctc"))
        'attention_rescoring-ctc-beam8-weight0.3'
        >>> str(Search("modified_beam_search", ctc_weight=0.3))
        'modified_beam_search-beam4-ctc0.3'
    """

    kind: Kind = "greedy"
    beam: int = 4
    weight: float = 0.5
    first_pass: FirstPass | None = None
    ctc_weight: float = 0.0
    hotwords: Hotwords | None = None

    def __str__(self) -> str:
        if self.kind in WITHOUT_BEAM:
            return self.kind
        hotwords = f"-hotwords-{self.hotwords.name}" if self.hotwords else ""
        if self.kind == "attention_rescoring":
            first = f"-{self.first_pass}" if self.first_pass else ""
            return f"{self.kind}{first}-beam{self.beam}-weight{self.weight:g}{hotwords}"
        ctc = f"-ctc{self.ctc_weight:g}" if self.ctc_weight else ""
        return f"{self.kind}-beam{self.beam}{ctc}{hotwords}"

    def check(self, heads: SearchHeads) -> None:
        """Sees to it that a model has the heads that this search needs.

        Raises:
            ValueError: Naming the heads that the model has and the searches that they allow; or if
                the CTC head is to have a say, or phrases are preferred, in a search that cannot.
        """
        if self.hotwords and self.kind in WITHOUT_BEAM:
            raise ValueError(
                f"phrases need a search that follows several hypotheses, not {self}: what one of "
                "them has begun can only be taken back where there are others. Choose --method "
                + (" or ".join(k for k in KINDS if k not in WITHOUT_BEAM))
            )
        there, needed = set(heads_of(heads)), _NEEDED[self.kind]
        if self.kind == "attention_rescoring" and self.first_pass:
            needed = [{"attention_decoder", self.first_pass}]
        if self.ctc_weight:
            if self.kind != "modified_beam_search":
                raise ValueError(
                    f"the CTC head has a weight in modified_beam_search only, not in {self}"
                )
            needed = [{"transducer", "ctc"}]
        if any(wanted <= there for wanted in needed):
            return
        wanted = " or ".join(" and ".join(sorted(names)) for names in needed)
        allowed = [kind for kind in KINDS if any(names <= there for names in _NEEDED[kind])]
        raise ValueError(
            f"method {self} needs the heads {wanted}; this model has "
            f"{', '.join(heads_of(heads)) or 'none'}, which allow: "
            f"{', '.join(allowed) or 'no method'}"
        )


def greedy_of(heads: SearchHeads) -> Search:
    """The greedy search of a model: of its transducer, or else of its CTC head."""
    return Search("greedy" if heads.joiner is not None else "ctc_greedy")


def make_searcher(
    heads: SearchHeads, tokens: Sequence[str], search: Search | None = None
) -> Searcher[Any]:
    """The searcher over the heads of a model.

    Args:
        heads: On the device to use.
        tokens: The piece of every token id; ``<unk>`` is treated as blank, nothing is written.
        search: None for the model's greedy search.

    Raises:
        ValueError: As ``Search.check``, and on a beam or weight that makes no sense.
    """
    search = search or greedy_of(heads)
    search.check(heads)
    unk_id = list(tokens).index(UNK) if UNK in tokens else None
    if search.kind == "greedy":
        assert heads.predictor is not None and heads.joiner is not None
        return GreedySearch(heads.predictor, heads.joiner, heads.predictor.blank_id, unk_id)
    if search.kind == "ctc_greedy":
        assert heads.ctc_output is not None
        return CtcGreedySearch(heads.ctc_output, unk_id=unk_id)
    if search.ctc_weight:
        assert heads.predictor is not None and heads.joiner is not None
        assert heads.ctc_output is not None
        return JointBeamSearch(
            heads.predictor,
            heads.joiner,
            heads.ctc_output,
            heads.predictor.blank_id,
            unk_id,
            search.beam,
            search.ctc_weight,
            hotwords=search.hotwords,
        )
    if search.kind == "attention_rescoring":
        assert heads.attention_decoder is not None
        first = search.first_pass or ("ctc" if heads.joiner is None else "transducer")
        hypotheses = _beam_searcher(heads, FIRST_PASSES[first], search, unk_id)
        return AttentionRescoring(hypotheses, heads.attention_decoder, search.weight)
    return _beam_searcher(heads, search.kind, search, unk_id)


def _beam_searcher(
    heads: SearchHeads, kind: Kind, search: Search, unk_id: int | None
) -> BeamSearcher[Any]:
    beam, hotwords = search.beam, search.hotwords
    if kind == "ctc_prefix_beam_search":
        assert heads.ctc_output is not None
        return CtcPrefixBeamSearch(heads.ctc_output, 0, unk_id, beam, hotwords=hotwords)
    assert heads.predictor is not None and heads.joiner is not None
    blank_id = heads.predictor.blank_id
    return ModifiedBeamSearch(
        heads.predictor, heads.joiner, blank_id, unk_id, beam, hotwords=hotwords
    )
