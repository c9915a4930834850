"""The bound that spares tokenizing never decides otherwise than the tokens themselves."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm
from data.small_corpus import WORDS, make_tokenizer, write_cut
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lhotse.cut import MonoCut

from zipformer.config import DataConfig
from zipformer.context import output_frames
from zipformer.data.filters import SPARE_FRAMES, TrainingFilter
from zipformer.tokens import SPECIAL_TOKENS, Tokenizer, open_tokenizer

TEXTS = ["the quick brown fox", "jumps over a lazy dog", "Stra\u00dfe \u00fcber \u4f60\u597d"] * 3
MODELS: dict[str, dict[str, object]] = {
    "unigram": dict(model_type="unigram"),
    "unigram, bytes": dict(model_type="unigram", byte_fallback=True, vocab_size=330),
    "bpe": dict(model_type="bpe"),
    "bpe, bytes": dict(model_type="bpe", byte_fallback=True, vocab_size=330),
    "characters": dict(model_type="char"),
    "words": dict(model_type="word", user_defined_symbols=["[noise]", "aa"]),
    "as it is": dict(model_type="bpe", normalization_rule_name="identity", byte_fallback=True)
    | dict(vocab_size=330, remove_extra_whitespaces=False, add_dummy_prefix=False),
    "folded": dict(model_type="unigram", normalization_rule_name="nmt_nfkc_cf")
    | dict(treat_whitespace_as_suffix=True, split_digits=True),
}
# Characters that become several (up to 18), or one together, or have no token; and white space.
NASTY = (
    "\ufdfa\ufb03\u00bd\u33a2\u2167\u0041\u030a\u1100\u1161\U0001f600\u3000\u200b\u0007\u2581 \t\n"
)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("models")
    return {name: trained(folder / f"{name}.model", settings) for name, settings in MODELS.items()}


def trained(path: Path, settings: dict[str, object]) -> Tokenizer:
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        hard_vocab_limit=False,
        control_symbols=list(SPECIAL_TOKENS[:2]),
        unk_id=2,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=2,
        **{"vocab_size": 60, **settings},
    )
    path.write_bytes(model.getvalue())
    return open_tokenizer(path)


@given(text=st.text(max_size=40) | st.text(NASTY + "abc dog", max_size=40))
@example(text="")
@example(text="\ufdfa" * 5)
@example(text="\U0001f600" * 9)
@example(text="[noise] aa [noise]")
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_text_has_more_tokens_than_the_bound(
    tokenizers: dict[str, Tokenizer], text: str
) -> None:
    for name, tokenizer in tokenizers.items():
        bound = tokenizer.most_tokens(tokenizer.normalize(text))
        assert len(tokenizer.encode(text)) <= bound, name


def test_the_bound_is_reached(tokenizers: dict[str, Tokenizer]) -> None:
    """By texts of rare characters, one token or one byte each."""
    for name, text in (("characters", "fox"), ("bpe, bytes", "\U0001f600" * 3)):
        tokenizer = tokenizers[name]
        bound = tokenizer.most_tokens(tokenizer.normalize(text))
        assert bound - 2 <= len(tokenizer.encode(text)) <= bound


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> TrainingFilter:
    return TrainingFilter(DataConfig(), make_tokenizer(tmp_path_factory.mktemp("words")))


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> MonoCut:
    samples = np.ones(5 * 16000, dtype=np.float32)
    return write_cut(tmp_path_factory.mktemp("wav"), "it", samples, "one")


wide = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(ord("a"), ord("z") + 1)})
words = st.sampled_from(
    WORDS + tuple(w[::-1] for w in WORDS) + tuple(w.translate(wide) for w in WORDS)
)


@given(parts=st.lists(words, min_size=1, max_size=12), frames=st.integers(10, 500))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_same_cuts_are_kept_as_by_counting_all_tokens(
    keep: TrainingFilter, cut: MonoCut, parts: list[str], frames: int
) -> None:
    assert keep.tokenizer is not None
    text, seconds = "  ".join(parts), frames / 100
    asked = replace(cut, duration=seconds, supervisions=[replace(cut.supervisions[0], text=text)])
    tokens = len(keep.tokenizer.encode(text))
    fits = output_frames(int(seconds / 0.01)) - SPARE_FRAMES >= tokens
    assert (keep.reason_to_drop(asked) is None) == fits
