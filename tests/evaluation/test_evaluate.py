"""A test set becomes words, figures and files, each of its own set, context and mode."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import tiny_run, write_cuts

from zipformer.checkpoint.fingerprint import settings_fingerprint, training_data_fingerprint
from zipformer.checkpoint.loading import LoadedModel
from zipformer.context import Context
from zipformer.evaluation import evaluate as module
from zipformer.evaluation.evaluate import evaluate
from zipformer.evaluation.results import Mode, read_result
from zipformer.search import Search

TEXTS = ["one two three", "seven", "four four five nine"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cuts(tmp_path_factory.mktemp("data"), "clean", TEXTS)


def test_the_folder_holds_the_figures_and_every_utterance(
    loaded: LoadedModel, cuts: Path, tmp_path: Path
) -> None:
    result = evaluate(loaded, cuts, "clean", Context(32, 128, 64), decode_dir=tmp_path)
    folder = tmp_path / "clean_greedy_32-128-64_windowed_epoch1-avg1"
    assert read_result(folder / "wer.json") == result
    assert (result.words, result.utterances) == (8, 3)
    assert result.wer == pytest.approx(100 * result.errors.errors / 8, abs=1e-3)
    assert result.audio_seconds == pytest.approx(0.9 + 1.2 + 1.5, abs=0.05)
    assert result.rtf == pytest.approx(result.compute_seconds / result.audio_seconds, abs=1e-3)
    assert result.streamable and result.latency_ms == 1090
    assert (result.checkpoint, result.train_steps) == ("epoch-1.pt", 7)
    lines = (folder / "recogs.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines[::2]] == ["clean-0", "clean-1", "clean-2"]
    assert lines[2] == "clean-1:\tref=['seven']"


def test_the_figures_say_where_the_weights_come_from_and_what_was_said(
    loaded: LoadedModel, cuts: Path, tmp_path: Path
) -> None:
    data = replace(loaded.config.data, train=(cuts,))
    trained = replace(loaded, config=replace(loaded.config, data=data), train_seconds=12.5)
    first, second = (
        evaluate(trained, cuts, "clean", Context(32, 128, right), decode_dir=tmp_path, chosen=why)
        for right, why in ((0, None), (64, "the best of two"))
    )
    assert first.references == second.references is not None
    assert (first.chosen, second.chosen) == (None, "the best of two")
    assert (first.train_audio_seconds, first.train_seconds) == (70.0, 12.5)
    assert first.train_data == training_data_fingerprint(data) is not None
    assert first.train_settings == settings_fingerprint(loaded.config)
    part = evaluate(loaded, cuts, "clean", Context.full(), limit=2, decode_dir=tmp_path)
    assert part.references != first.references and part.train_data is None


def test_stream_and_batch_hear_the_same_words_and_masked_others(
    loaded: LoadedModel, cuts: Path, tmp_path: Path
) -> None:
    words = {}
    for mode in ("windowed", "stream", "masked"):
        result = evaluate(loaded, cuts, "clean", Context(32, 128, 64), mode, decode_dir=tmp_path)
        assert result.right_mode == mode and result.streamable == (mode != "masked")
        words[mode] = (tmp_path / result.folder / "recogs.txt").read_text()
    assert words["stream"] == words["windowed"] != words["masked"]


def test_beam_search_is_filed_under_its_beam_and_hears_the_same_in_a_stream(
    loaded: LoadedModel, cuts: Path, tmp_path: Path
) -> None:
    words = {}
    modes: tuple[Mode, ...] = ("windowed", "stream")
    for mode in modes:
        search = Search("modified_beam_search")
        evaluate(loaded, cuts, "clean", Context(32, 128, 64), mode, search, decode_dir=tmp_path)
        folder = f"clean_modified_beam_search-beam4_32-128-64_{mode}_epoch1-avg1"
        words[mode] = (tmp_path / folder / "recogs.txt").read_text()
    assert words["stream"] == words["windowed"]


def test_without_a_folder_it_lies_beside_the_checkpoint(loaded: LoadedModel, cuts: Path) -> None:
    result = evaluate(loaded, cuts, "clean", Context.full())
    path = loaded.path.parent / "decode" / result.folder / "wer.json"
    assert json.loads(path.read_text())["latency_ms"] is None


def test_an_untrained_context_is_decoded_with_a_warning(
    loaded: LoadedModel, cuts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        evaluate(loaded, cuts, "clean", Context(64, 256, 4), decode_dir=tmp_path)
    assert "64/256/4 is outside the menu" in caplog.text and "right 0, 64" in caplog.text


@pytest.mark.parametrize(
    "name,context,mode,reason",
    [
        ("a/b", Context.full(), "windowed", "set name 'a/b'"),
        ("clean", Context(32, 128, 6), "windowed", "nearest allowed: 4 or 8"),
        ("clean", Context.full(), "stream", "cannot stream"),
    ],
)
def test_what_cannot_be_done_is_refused_before_decoding(
    loaded: LoadedModel, cuts: Path, name: str, context: Context, mode: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        evaluate(loaded, cuts, name, context, mode)


def test_a_missing_manifest_is_named(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"set clean.*none\.jsonl\.gz"):
        evaluate(loaded, tmp_path / "none.jsonl.gz", "clean", Context.full())


def test_a_set_without_reference_words_has_no_error_rate(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    cuts = write_cuts(tmp_path, "silent", [""])
    with pytest.raises(ValueError, match="set silent: no reference words in 1 utterances"):
        evaluate(loaded, cuts, "silent", Context.full(), decode_dir=tmp_path)


def test_out_of_memory_says_what_to_lower(
    loaded: LoadedModel, cuts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(*_: object) -> None:
        raise module.torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(module, "_decode_batch", burst)
    with pytest.raises(MemoryError, match="lower --max-duration"):
        evaluate(loaded, cuts, "clean", Context.full())
