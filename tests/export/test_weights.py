"""A published checkpoint is the model and nothing of the machine or the training behind it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_run import tiny_run
from trained_digits import CHECKPOINT

from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.loading import load_model
from zipformer.config.toml import to_dict
from zipformer.export.weights import export_weights


def test_the_file_is_the_model(tmp_path: Path) -> None:
    run = tiny_run(tmp_path)
    path = export_weights(run, tmp_path / "published")
    assert sorted(p.name for p in path.parent.iterdir()) == ["bpe.model", "model.pt"]
    loaded = load_model(path)
    ours, theirs = run.model.state_dict(), loaded.model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert loaded.config.encoder == run.config.encoder and loaded.config.model == run.config.model
    assert (loaded.label, loaded.steps) == (run.label, run.steps)
    assert loaded.tokenizer.tokens == run.tokenizer.tokens and not loaded.model.training


def test_it_holds_no_path_of_the_machine_that_trained_it(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, train=(tmp_path / "secret" / "cuts.jsonl.gz",))
    assert "secret" in str(to_dict(run.config))
    path = export_weights(run, tmp_path / "published")
    assert str(tmp_path).encode() not in path.read_bytes()
    assert "secret" not in str(checkpoint.load(path)["config"])
    assert b"recipes/digits" not in CHECKPOINT.read_bytes()


def test_it_may_be_written_where_it_lies(tmp_path: Path) -> None:
    run = tiny_run(tmp_path)
    assert load_model(export_weights(run, tmp_path)).tokenizer.tokens == run.tokenizer.tokens


def test_one_file_has_no_epochs_to_choose_from() -> None:
    with pytest.raises(ValueError, match="one checkpoint: epoch, iter and avg need a folder"):
        load_model(CHECKPOINT, epoch=3)


def test_another_tokenizer_beside_it_is_refused(tmp_path: Path) -> None:
    run = tiny_run(tmp_path)
    path = export_weights(run, tmp_path / "published")
    with (path.parent / "bpe.model").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ValueError, match="not the tokenizer that model.pt was trained with"):
        load_model(path)
