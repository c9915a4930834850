"""Names of methods, and the heads that they need."""

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
from zipformer.search.methods import (
    METHODS,
    check_method,
    greedy_method,
    make_decoder,
    method_name,
)

TOKENS = ["<blk>", "<sos/eos>", "<unk>", "a", "b"]
TRANSDUCER = replace(ALL_HEADS, ctc=False, attention_decoder=False)
CTC = replace(CTC_ATTENTION, attention_decoder=False)


def model_of(heads: ModelConfig) -> AsrModel:
    return AsrModel(ENCODER, len(TOKENS), heads).eval()


@pytest.mark.parametrize(
    ("heads", "allowed"),
    [
        (TRANSDUCER, METHODS[:2]),
        (CTC, METHODS[2:4]),
        (CTC_ATTENTION, METHODS[2:]),
        (replace(TRANSDUCER, attention_decoder=True), (*METHODS[:2], METHODS[4])),
        (ALL_HEADS, METHODS),
    ],
    ids=["transducer", "ctc", "ctc and attention", "transducer and attention", "all"],
)
def test_a_model_does_what_its_heads_allow_and_says_so_otherwise(
    heads: ModelConfig, allowed: tuple[str, ...]
) -> None:
    model = model_of(heads)
    for method in METHODS:
        if method in allowed:
            make_decoder(model, TOKENS, method)
            continue
        with pytest.raises(ValueError, match=f"{method} needs the heads .*this model has") as error:
            make_decoder(model, TOKENS, method)
        assert f"this model has {', '.join(heads.heads)}, which allow: " in str(error.value)
        assert str(error.value).endswith(f"allow: {', '.join(allowed)}")


def test_names_say_what_a_method_depends_on() -> None:
    assert [method_name(m) for m in METHODS] == [
        "greedy",
        "modified_beam_search-beam4",
        "ctc_greedy",
        "ctc_prefix_beam_search-beam4",
        "attention_rescoring-beam4-weight0.5",
    ]
    for name in (method_name(m, 8, 0.25, "ctc") for m in METHODS):
        assert method_name(name) == name
        make_decoder(model_of(ALL_HEADS), TOKENS, name)


def test_the_decoder_is_what_the_name_says() -> None:
    model = model_of(ALL_HEADS)
    search = make_decoder(model, TOKENS, "ctc_prefix_beam_search-beam7")
    assert isinstance(search, CtcPrefixBeamSearch) and search.beam == 7
    assert search.unk_id == 2 and search.blank_id == 0
    assert isinstance(make_decoder(model, TOKENS, "ctc_greedy"), CtcGreedySearch)
    first_pass = {
        "attention_rescoring-beam3-weight0.25": ModifiedBeamSearch,
        "attention_rescoring-transducer-beam3-weight0.25": ModifiedBeamSearch,
        "attention_rescoring-ctc-beam3-weight0.25": CtcPrefixBeamSearch,
    }
    for name, kind in first_pass.items():
        search = make_decoder(model, TOKENS, name)
        assert isinstance(search, AttentionRescoring) and isinstance(search.search, kind)
        assert (search.weight, search.search.beam, search.search.unk_id) == (0.25, 3, 2)
    search = make_decoder(model_of(CTC_ATTENTION), TOKENS, "attention_rescoring")
    assert isinstance(search, AttentionRescoring)
    assert isinstance(search.search, CtcPrefixBeamSearch)


def test_without_a_name_the_first_head_is_searched_greedily() -> None:
    assert greedy_method(model_of(ALL_HEADS)) == "greedy"
    assert isinstance(make_decoder(model_of(ALL_HEADS), TOKENS), GreedySearch)
    assert greedy_method(model_of(CTC)) == "ctc_greedy"
    assert isinstance(make_decoder(model_of(CTC), TOKENS), CtcGreedySearch)


def test_a_first_search_that_the_model_has_no_head_for_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the heads attention_decoder and transducer;"):
        check_method(
            model_of(CTC_ATTENTION), method_name("attention_rescoring", 4, 0.5, "transducer")
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("viterbi", "unknown search method 'viterbi'; there are: greedy, .*attention_rescoring"),
        ("attention_rescoring-hmm-beam4-weight0.5", "unknown search method"),
        ("attention_rescoring-beam4-weight1.5", "weight 1.5 .* 0 to 1"),
        ("attention_rescoring-beam4-weight-0.5", "weight -0.5 .* 0 to 1"),
        ("ctc_prefix_beam_search-beam0", "beam 0"),
    ],
)
def test_names_that_mean_nothing_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_decoder(model_of(ALL_HEADS), TOKENS, name)


def test_greedy_search_of_a_model_without_transducer_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="greedy search needs a transducer .*heads are: ctc"):
        greedy(model_of(CTC), torch.zeros(1, 3, ENCODER.output_dim), torch.tensor([3]))
