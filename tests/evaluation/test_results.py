"""Result folders: what is written is what is read, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation.example_results import UTTERANCES, example

from zipformer.context import Context
from zipformer.evaluation import results
from zipformer.evaluation.results import (
    is_streamable,
    read_recognized,
    read_result,
    write_result,
)
from zipformer.evaluation.scoring import Utterance


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    result = example()
    folder = write_result(tmp_path / "decode", result, UTTERANCES)
    assert folder.name == "clean_greedy_32-256-64_windowed_epoch30-avg9"
    assert sorted(p.name for p in folder.iterdir()) == ["errs.txt", "recogs.txt", "wer.json"]
    assert read_result(folder / "wer.json") == result


@pytest.mark.parametrize(
    "context,wanted",
    [("full", "full"), ("32/inf/0", "32-inf-0"), ("64/128/16", "64-128-16")],
)
def test_the_folder_names_set_method_context_mode_and_model(context: str, wanted: str) -> None:
    result = example(context, "masked", name="test-other", model="epoch3-avg1")
    assert result.folder == f"test-other_greedy_{wanted}_masked_epoch3-avg1"


def test_recognized_words_come_in_two_lines_sorted_by_cut(tmp_path: Path) -> None:
    folder = write_result(tmp_path, example(), UTTERANCES)
    assert (folder / "recogs.txt").read_text().splitlines() == [
        "utt-a:\tref=['nine', 'five']",
        "utt-a:\thyp=['nine']",
        "utt-b:\tref=['one', 'two', 'three']",
        "utt-b:\thyp=['one', 'too', 'three', 'four']",
    ]


def test_the_error_report_counts_by_utterance_kind_and_word(tmp_path: Path) -> None:
    lines = (write_result(tmp_path, example(), UTTERANCES) / "errs.txt").read_text().splitlines()
    assert lines[0] == "%WER = 60.00"
    assert lines[1] == (
        "Errors: 1 insertions, 1 deletions, 1 substitutions, over 5 reference words (3 correct)"
    )
    assert "utt-a:\tnine (five->*)" in lines
    assert "utt-b:\tone (two->too) three (*->four)" in lines
    sections = {line.split(":")[0]: i for i, line in enumerate(lines) if line[:1].isupper()}
    assert lines[sections["SUBSTITUTIONS"] + 1] == "1\ttwo -> too"
    assert lines[sections["DELETIONS"] + 1] == "1\tfive"
    assert lines[sections["INSERTIONS"] + 1] == "1\tfour"
    statistics = lines[sections["PER-WORD STATS"] + 1 :]
    assert "two\t1\t1\t0\t0" in statistics  # one error, said once, never heard, never right
    assert "too\t1\t0\t1\t0" in statistics
    assert "nine\t0\t1\t1\t1" in statistics


@pytest.mark.parametrize(
    "context,mode,wanted",
    [
        ("32/256/64", "windowed", True),
        ("32/256/64", "stream", True),
        ("32/256/64", "masked", False),
        ("32/256/0", "masked", True),
        ("32/inf/0", "windowed", False),
        ("full", "windowed", False),
    ],
)
def test_streamable_is_what_a_live_stream_can_give(context: str, mode: str, wanted: bool) -> None:
    assert is_streamable(Context.parse(context), mode) is wanted


@pytest.mark.parametrize("chunk,right", [(32, 0), (32, 64), (64, 256), (128, 16)])
def test_latency_is_ten_times_chunk_and_right_and_thirteen_frames(chunk: int, right: int) -> None:
    assert example(f"{chunk}/256/{right}").latency_ms == 10 * (chunk + right + 13)


def test_full_context_has_no_latency_in_the_file(tmp_path: Path) -> None:
    folder = write_result(tmp_path, example("full"), UTTERANCES)
    assert json.loads((folder / "wer.json").read_text())["latency_ms"] is None


def test_who_dies_while_replacing_leaves_no_figures_beside_other_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_result(tmp_path, example(), UTTERANCES)

    def die(*_: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "error_report", die)
    with pytest.raises(KeyboardInterrupt):
        write_result(tmp_path, example(), UTTERANCES[:1])
    assert not (folder / "wer.json").exists()


@pytest.mark.parametrize(
    "content,reason",
    [
        ("{", "cannot be read"),
        ("[]", "not an object"),
        ('{"set": "clean"}', "no method"),
        (json.dumps({**vars(example()), "context": "32"}), "context '32'"),
        (json.dumps({**vars(example()), "wer": None}), "wrong value"),
        (json.dumps({**vars(example()), "latency_ms": 640}), "latency_ms is 640"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "wer.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=reason) as error:
        read_result(path)
    assert str(path) in str(error.value)


def test_fields_of_newer_versions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "wer.json"
    path.write_text(json.dumps({**vars(example()), "mood": "good"}))
    assert read_result(path) == replace(example())


def test_files_of_older_versions_lack_what_they_did_not_know(tmp_path: Path) -> None:
    newer = ("references", "chosen", "train_audio_seconds", "train_seconds")
    newer += ("train_data", "train_settings", "train_commit")
    path = tmp_path / "wer.json"
    path.write_text(json.dumps({k: v for k, v in vars(example()).items() if k not in newer}))
    result = read_result(path)
    assert result == example() and result.references is None and result.train_seconds == 0.0


def test_recognized_words_are_read_back_as_they_were(tmp_path: Path) -> None:
    strange = [
        Utterance.of_texts("a:\tref=['x']", 'it\'s "so" <b>&amp;</b>', "]['hyp= \u00e9\u4f60"),
        Utterance.of_texts("b", "", "nothing\u0085said"),
    ]
    folder = write_result(tmp_path, example(), [*strange, *UTTERANCES])
    ordered = sorted([*strange, *UTTERANCES], key=lambda u: u.cut_id)
    assert read_recognized(folder / "recogs.txt") == ordered


@pytest.mark.parametrize(
    "lines,reason",
    [
        ("u:\tref=['a'", "line 1, is damaged"),
        ("u:\tref=[open]", "line 1, is damaged"),
        ("u:\tref=['a']", "cut u has not both lines"),
    ],
)
def test_damaged_words_are_named(tmp_path: Path, lines: str, reason: str) -> None:
    path = tmp_path / "recogs.txt"
    path.write_text(lines + "\n")
    with pytest.raises(ValueError, match=reason) as error:
        read_recognized(path)
    assert str(path) in str(error.value)
