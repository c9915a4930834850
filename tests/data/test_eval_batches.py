"""Evaluation takes every cut as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data.small_corpus import (
    assert_equal,
    broken_corpus,
    config_for,
    make_cuts,
    write_cut,
    write_manifest,
)

from zipformer.data.features import extract
from zipformer.data.loader import eval_batches
from zipformer.data.manifests import count_cuts
from zipformer.tokens import Tokenizer


def test_evaluation_takes_every_cut_as_it_is(corpus: Path, tokenizer: Tokenizer) -> None:
    cuts = make_cuts(corpus / "eval_wav", [1.0, 2.5, 0.3])
    cuts.append(write_cut(corpus, "much", np.ones(3200, dtype=np.float32), "one " * 30))
    cuts.append(write_cut(corpus, "tiny", np.ones(90, dtype=np.float32), "one"))
    cuts.append(write_cut(corpus, "silent", np.zeros(4800, dtype=np.float32), None))
    cuts.append(write_cut(corpus, "odd", np.ones(4800, dtype=np.float32), "Zwölf one"))
    manifest = write_manifest(corpus / "eval.jsonl.gz", cuts)
    batches = list(eval_batches(manifest, tokenizer, config_for()))
    texts = dict(pair for b in batches for pair in zip(b.cut_ids, b.texts, strict=True))
    assert len(texts) == count_cuts(manifest) == 7
    assert texts["odd"] == "Zwölf one"
    assert texts["silent"] == ""
    for batch in batches:
        for row, cut_id in enumerate(batch.cut_ids):
            samples = next(c for c in cuts if c.id == cut_id).load_audio()
            features = batch.features[row, : int(batch.feature_lens[row])]
            assert torch.equal(features, extract(samples, 16000))


def test_evaluation_batches_do_not_hang_on_workers_or_random_state(
    corpus: Path, tokenizer: Tokenizer
) -> None:
    manifest = corpus / "cuts.jsonl.gz"
    first = list(eval_batches(manifest, tokenizer, config_for()))
    torch.manual_seed(1)
    assert_equal(list(eval_batches(manifest, tokenizer, config_for(num_workers=2))), first)
    lengths = [n for b in first for n in b.feature_lens.tolist()]
    assert lengths == sorted(lengths, reverse=True)


def test_an_evaluation_limit_takes_the_first_cuts_of_the_manifest(
    corpus: Path, tokenizer: Tokenizer
) -> None:
    batches = eval_batches(corpus / "cuts.jsonl.gz", tokenizer, config_for(), 2.5, limit=5)
    ids = [b.cut_ids for b in batches]
    assert sorted(sum(ids, [])) == [f"cut{i:03d}" for i in range(5)]
    assert len(ids) > 2


def test_evaluation_stops_at_unreadable_audio_and_names_it(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    manifest = broken_corpus(tmp_path, good=3, broken=1)
    with pytest.raises(ValueError, match=r"cut cut003: .*cut003\.wav cannot be read"):
        list(eval_batches(manifest, tokenizer, config_for()))
