"""Searches as values: their names, the heads that they need, the searchers that they mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_run import ALL_HEADS, CTC_ATTENTION, ENCODER

from zipformer.config import ModelConfig
from zipformer.model import AsrModel
from zipformer.search.attention_rescoring import AttentionRescoring
from zipformer.search.beam_search import ModifiedBeamSearch
from zipformer.search.ctc_prefix_search import CtcPrefixBeamSearch
from zipformer.search.ctc_search import CtcGreedySearch
from zipformer.search.greedy_search import GreedySearch, greedy
from zipformer.search.joint_beam_search import JointBeamSearch
from zipformer.search.search import KINDS, Search, greedy_of, make_searcher

TOKENS = ["<blk>", "<sos/eos>", "<unk>", "a", "b"]
TRANSDUCER = replace(ALL_HEADS, ctc=False, attention_decoder=False)
CTC = replace(CTC_ATTENTION, attention_decoder=False)


def model_of(heads: ModelConfig) -> AsrModel:
    return AsrModel(ENCODER, len(TOKENS), heads).eval()


@pytest.mark.parametrize(
    ("heads", "allowed"),
    [
        (TRANSDUCER, KINDS[:2]),
        (CTC, KINDS[2:4]),
        (CTC_ATTENTION, KINDS[2:]),
        (replace(TRANSDUCER, attention_decoder=True), (*KINDS[:2], KINDS[4])),
        (ALL_HEADS, KINDS),
    ],
    ids=["transducer", "ctc", "ctc and attention", "transducer and attention", "all"],
)
def test_a_model_does_what_its_heads_allow_and_says_so_otherwise(
    heads: ModelConfig, allowed: tuple[str, ...]
) -> None:
    model = model_of(heads)
    for kind in KINDS:
        if kind in allowed:
            make_searcher(model, TOKENS, Search(kind))
            continue
        with pytest.raises(ValueError, match=f"{kind}.* needs the heads .*this model has") as error:
            make_searcher(model, TOKENS, Search(kind))
        assert f"this model has {', '.join(heads.heads)}, which allow: " in str(error.value)
        assert str(error.value).endswith(f"allow: {', '.join(allowed)}")


def test_the_searcher_is_what_the_value_says() -> None:
    model = model_of(ALL_HEADS)
    searcher = make_searcher(model, TOKENS, Search("ctc_prefix_beam_search", beam=7))
    assert isinstance(searcher, CtcPrefixBeamSearch) and searcher.beam == 7
    assert searcher.unk_id == 2 and searcher.blank_id == 0
    assert isinstance(make_searcher(model, TOKENS, Search("ctc_greedy")), CtcGreedySearch)
    first_passes = {
        None: ModifiedBeamSearch,
        "transducer": ModifiedBeamSearch,
        "ctc": CtcPrefixBeamSearch,
    }
    for first_pass, kind in first_passes.items():
        search = Search("attention_rescoring", 3, 0.25, first_pass)  # type: ignore[arg-type]
        searcher = make_searcher(model, TOKENS, search)
        assert isinstance(searcher, AttentionRescoring) and isinstance(searcher.search, kind)
        assert (searcher.weight, searcher.search.beam, searcher.search.unk_id) == (0.25, 3, 2)
    searcher = make_searcher(model_of(CTC_ATTENTION), TOKENS, Search("attention_rescoring"))
    assert isinstance(searcher, AttentionRescoring)
    assert isinstance(searcher.search, CtcPrefixBeamSearch)


def test_without_a_search_the_first_head_is_searched_greedily() -> None:
    assert greedy_of(model_of(ALL_HEADS)) == Search("greedy")
    assert isinstance(make_searcher(model_of(ALL_HEADS), TOKENS), GreedySearch)
    assert greedy_of(model_of(CTC)) == Search("ctc_greedy")
    assert isinstance(make_searcher(model_of(CTC), TOKENS), CtcGreedySearch)


def test_a_first_search_that_the_model_has_no_head_for_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the heads attention_decoder and transducer;"):
        Search("attention_rescoring", first_pass="transducer").check(model_of(CTC_ATTENTION))


def test_a_weight_of_the_ctc_head_asks_for_both_heads() -> None:
    search = Search("modified_beam_search", beam=3, ctc_weight=0.4)
    searcher = make_searcher(model_of(ALL_HEADS), TOKENS, search)
    assert isinstance(searcher, JointBeamSearch)
    assert (searcher.weight, searcher.beam, searcher.unk_id) == (0.4, 3, 2)
    with pytest.raises(ValueError, match="needs the heads ctc and transducer; this model has tra"):
        search.check(model_of(TRANSDUCER))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (Search("attention_rescoring", weight=1.5), "weight 1.5 .* 0 to 1"),
        (Search("attention_rescoring", weight=-0.5), "weight -0.5 .* 0 to 1"),
        (Search("ctc_prefix_beam_search", beam=0), "beam 0"),
        (Search("modified_beam_search", ctc_weight=1.5), "CTC head's weight 1.5 .* 0 and 1"),
        (Search("greedy", ctc_weight=0.5), "in modified_beam_search only, not in greedy"),
    ],
    ids=str,
)
def test_numbers_that_mean_nothing_are_refused(search: Search, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_searcher(model_of(ALL_HEADS), TOKENS, search)


def test_greedy_search_of_a_model_without_transducer_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="greedy search needs a transducer .*heads are: ctc"):
        greedy(model_of(CTC), torch.zeros(1, 3, ENCODER.output_dim), torch.tensor([3]))
