"""Decoding, comparing and transcribing as a user does, in another folder than the run's."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands.calling import Caller
from evaluation.example_results import UTTERANCES, example
from tiny_run import CTC_ATTENTION, tiny_run, write_cuts, write_epochs

from zipformer.evaluation.results import write_result


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two epochs, a validation set and two test sets."""
    folder = tmp_path_factory.mktemp("exp") / "tiny"
    folder.mkdir()
    test = {
        "clean": write_cuts(folder, "clean", ["one two", "three"]),
        "babble": write_cuts(folder, "babble", ["nine nine nine"]),
    }
    dev = write_cuts(folder, "dev", ["one two three", "seven"])
    write_epochs(folder, tiny_run(folder, test=test, valid=(dev,)), 2)
    return folder


@pytest.mark.slow
def test_decode_and_compare_make_table_page_and_csv(
    call: Caller, run: Path, tmp_path: Path
) -> None:
    contexts = ("--contexts", "full 32/128/64")
    done = call("decode", run, *contexts, "--right-mode", "windowed,masked", cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert done.stdout.count("WER ") >= 8 and "1090 ms" in done.stdout
    assert len(list((run / "decode").glob("*/wer.json"))) == 8
    done = call("compare", run, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "| babble WER % | clean WER % |" in done.stdout
    assert done.stdout.count("masked (not streamable)") == 1
    assert "<svg" in (run.parent / "compare.html").read_text()
    assert str(run.parent / "compare.html") in done.stdout
    assert len(list(csv.DictReader(open(run.parent / "compare.csv")))) == 8
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_auto_picks_on_the_validation_set_prints_the_grid_and_says_so(
    call: Caller, run: Path, tmp_path: Path
) -> None:
    auto = ("--epoch", "auto", "--sets", "clean", "--right", 64)
    done = call("decode", run, *auto, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "| epoch | avg 1: WER % | avg 2: WER % |" in done.stdout
    chosen = json.loads((run / "decode" / "selection.json").read_text())
    epoch, avg = chosen["picked"]["epoch"], chosen["picked"]["avg"]
    figures = json.loads(
        (run / f"decode/clean_greedy_32-128-64_windowed_epoch{epoch}-avg{avg}/wer.json").read_text()
    )
    assert figures["chosen"] == f"auto: {chosen['why']}" and "dev.jsonl.gz" in chosen["why"]
    assert figures["train_seconds"] == 11.0 * epoch
    again = call("transcribe", run, "dev-0.wav", "--epoch", "auto", "--json", cwd=run)
    assert again.status == 0, again.stderr
    assert json.loads(again.stdout)["file"] == "dev-0.wav"
    assert "picked: " in again.stderr and "on the validation sets\n" not in again.stderr


def test_two_test_sets_of_one_name_are_not_compared(
    call: Caller, run: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder, references in zip(folders, ("aa", "bb"), strict=True):
        result = replace(example(), references=references)
        write_result(folder / "decode", result, UTTERANCES)
    done = call("compare", *folders, cwd=tmp_path)
    assert done.status == 1 and done.stdout == ""
    assert done.stderr.startswith("error: set clean is not the same in all results")
    assert not (tmp_path / "compare.html").exists()


def test_nothing_is_decoded_if_one_of_the_contexts_cannot_be(
    call: Caller, run: Path, tmp_path: Path
) -> None:
    contexts = ("--contexts", "32/128/0 full", "--right-mode", "stream")
    done = call("decode", run, *contexts, cwd=tmp_path)
    assert done.status == 1 and done.stderr == (
        "error: context full cannot stream: a stream needs a finite chunk and a finite left "
        "context, as in 32/256/64\n"
    )
    assert not list(run.glob("decode/*stream*"))


def test_a_method_that_needs_another_head_is_one_line_of_error(
    call: Caller, run: Path, tmp_path: Path
) -> None:
    done = call("decode", run, "--method", "ctc_greedy", cwd=tmp_path)
    assert done.status == 1 and done.stderr == (
        "error: method ctc_greedy needs the heads ctc; this model has transducer, which allow: "
        "greedy, modified_beam_search\n"
    )


@pytest.mark.slow
def test_a_model_without_transducer_is_picked_decoded_streamed_and_transcribed(
    call: Caller, tmp_path: Path
) -> None:
    sets = {"clean": write_cuts(tmp_path, "clean", ["one two", "three"])}
    dev = write_cuts(tmp_path, "dev", ["one two three"])
    loaded = tiny_run(tmp_path, CTC_ATTENTION, test=sets, valid=(dev,))
    write_epochs(tmp_path, loaded, 1)
    modes = ("--right", 64, "--right-mode", "windowed,stream")
    rescoring = ("--method", "attention_rescoring", "--beam", 3, "--attention-weight", 0.9)
    for options, name in (
        (("--epoch", "auto", "--avg", 1), "ctc_greedy"),
        (("--method", "ctc_prefix_beam_search"), "ctc_prefix_beam_search-beam4"),
        (rescoring, "attention_rescoring-beam3-weight0.9"),
    ):
        done = call("decode", tmp_path, *modes, *options, cwd=tmp_path)
        assert done.status == 0, done.stderr
        words = [
            (tmp_path / f"decode/clean_{name}_32-128-64_{mode}_epoch1-avg1/recogs.txt").read_text()
            for mode in ("windowed", "stream")
        ]
        assert words[0] == words[1] and "hyp=[]" not in words[0]
    assert "ctc_greedy, windowed" in (tmp_path / "decode/selection.json").read_text()
    done = call("transcribe", tmp_path, "dev-0.wav", *modes[:2], *rescoring, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "dev-0.wav" in done.stdout
    done = call("export", tmp_path, "--offline", cwd=tmp_path)
    assert done.status == 0 and "same tokens in" in done.stdout, done.stderr
    assert list(tmp_path.rglob("offline/model.onnx"))


@pytest.mark.slow
def test_transcribe_goes_on_after_a_file_that_cannot_be_read(
    call: Caller, run: Path, tmp_path: Path
) -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal((16000, 2))
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    soundfile.write(tmp_path / "c.flac", noise[:, 0], 16000)
    (tmp_path / "b.wav").write_text("no audio")
    files = ("a.wav", "b.wav", "c.flac")
    done = call("transcribe", run, *files, "--right", 64, "--json", "--srt", cwd=tmp_path)
    assert done.status == 1
    assert "b.wav: cannot be read as audio" in done.stderr and "1 of 3 files" in done.stderr
    first, last = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["file"], first["seconds"]) == ("a.wav", 2.0)
    assert (last["file"], last["context"]) == ("c.flac", "32/128/64")
    assert " ".join(word["text"] for word in first["words"]) == first["text"]
    assert (tmp_path / "a.srt").exists() and not (tmp_path / "b.srt").exists()
