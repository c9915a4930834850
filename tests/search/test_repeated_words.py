"""The trained digits: a word that is said twice in a row is written twice, by every search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trained_digits import ROOT, WORDS, trained

from recipes.digits.make_strings import Style, join_words
from recipes.digits.segments import load_word, read_table
from zipformer.context import Context
from zipformer.data.features import extract
from zipformer.search import Search, make_searcher

RATE = 16000
MOST_LOST = 6  # of 60; a model that was trained with the regular transducer loses 44


@pytest.fixture(scope="module")
def twice() -> tuple[list[torch.Tensor], list[list[str]]]:
    """Features and words: of every speaker every word, said twice between two others."""
    rng = np.random.default_rng(1)
    table = ROOT / "recipes" / "digits" / "fsdd" / "segments.tsv"
    spoken = [s for s in read_table(table, WORDS.split(",")) if s.take < 3]
    features, texts = [], []
    for speaker in sorted({s.speaker for s in spoken}):
        for number, word in enumerate(WORDS.split(",")):
            before, after = WORDS.split(",")[number - 3], WORDS.split(",")[number - 6]
            own = {(s.word, s.take): s for s in spoken if s.speaker == speaker}
            string = [own[before, 0], own[word, 1], own[word, 2], own[after, 0]]
            samples, _ = join_words([load_word(s, RATE) for s in string], Style(), rng, RATE)
            features.append(extract(samples))
            texts.append([s.word for s in string])
    return features, texts


@pytest.mark.parametrize("context", [Context.full(), Context(32, 256, 0)], ids=str)
@pytest.mark.parametrize("method", ["greedy", "modified_beam_search", "ctc_greedy"])
@torch.no_grad()
def test_the_second_of_two_equal_words_is_heard(
    twice: tuple[list[torch.Tensor], list[list[str]]], context: Context, method: str
) -> None:
    features, texts = twice
    loaded = trained()
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    lengths = torch.tensor([len(f) for f in features])
    out, out_lengths = loaded.model.encoder(padded, lengths, context)
    searcher = make_searcher(loaded.model, loaded.tokenizer.pieces, Search(method))
    heard = [loaded.tokenizer.decode(h.tokens).split() for h in searcher.decode(out, out_lengths)]
    lost = [h for h, text in zip(heard, texts, strict=True) if len(h) < len(text)]
    assert len(texts) == 60
    assert len(lost) <= MOST_LOST, lost
