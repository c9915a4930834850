"""Tables put every figure where it belongs."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from decoding.example_results import UTTERANCES, example

from zipformer.decoding.compare import collect, make_table, to_csv, to_markdown, warnings
from zipformer.decoding.results import Result, write_result


def run_with(folder: Path, *results: Result) -> Path:
    for result in results:
        write_result(folder / "decode", result, UTTERANCES)
    return folder


def cells(markdown: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in markdown.splitlines()]


def test_sets_are_columns_and_never_mixed_up(tmp_path: Path) -> None:
    run = run_with(
        tmp_path / "run",
        example("full", name="clean", wer=1.25),
        example("full", name="babble", wer=9.5),
        example("32/256/64", name="babble", wer=12.0),
        example("32/256/0", name="clean", wer=3.0),
    )
    head, _, *rows = cells(to_markdown(make_table(collect([run]))))
    assert head[-2:] == ["babble WER %", "clean WER %"]
    assert {row[3]: row[-2:] for row in rows} == {
        "full": ["9.50", "1.25"],
        "32/256/0": ["-", "3.00"],
        "32/256/64": ["12.00", "-"],
    }
    head, _, *rows = cells(to_markdown(make_table(collect([run], ["clean"]))))
    assert head[-1] == "clean WER %" and [row[-1] for row in rows] == ["1.25", "3.00"]
    swapped = cells(to_markdown(make_table(collect([run], ["clean", "babble"]))))
    assert swapped[0][-2:] == ["clean WER %", "babble WER %"]
    assert swapped[2][-2:] == ["1.25", "9.50"]


def test_rows_tell_run_checkpoint_context_latency_and_mode(tmp_path: Path) -> None:
    a = run_with(tmp_path / "a", example("32/256/64"), example("32/256/64", "masked"))
    b = run_with(tmp_path / "b", example("32/256/64"), example("32/256/64", model="epoch9-avg2"))
    rows = make_table(collect([b, a])).rows
    assert [row[:2] + row[5:6] for row in rows] == [
        ["b", "epoch30-avg9", "windowed"],
        ["b", "epoch9-avg2", "windowed"],
        ["a", "epoch30-avg9", "windowed"],
        ["a", "epoch30-avg9", "masked (not streamable)"],
    ]
    assert all(row[3:5] == ["32/256/64", "1090 ms"] for row in rows)


@pytest.mark.parametrize(
    "context,mode,wanted",
    [
        ("32/256/64", "masked", "masked (not streamable)"),
        ("32/256/64", "windowed", "windowed"),
        ("32/256/0", "masked", "masked"),
        ("32/inf/0", "windowed", "windowed (not streamable)"),
        ("full", "masked", "masked (offline)"),
    ],
)
def test_what_no_stream_gives_is_marked(
    tmp_path: Path, context: str, mode: str, wanted: str
) -> None:
    run = run_with(tmp_path / "run", example(context, mode))
    assert make_table(collect([run])).rows[0][5] == wanted


def test_contexts_are_ordered_full_first_then_by_size(tmp_path: Path) -> None:
    order = ["full", "32/128/0", "32/256/0", "32/256/64", "32/256/128", "32/inf/0", "64/256/0"]
    run = run_with(tmp_path / "run", *(example(c) for c in sorted(order)))
    assert [row[3] for row in make_table(collect([run])).rows] == order


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [run_with(tmp_path / p / "small", example()) for p in ("x", "y")]
    assert [row[0] for row in make_table(collect(runs)).rows] == ["x/small", "y/small"]


def test_a_copied_result_is_refused(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", example())
    folder = next((run / "decode").iterdir())
    (run / "decode" / "copy").mkdir()
    (run / "decode" / "copy" / "wer.json").write_bytes((folder / "wer.json").read_bytes())
    with pytest.raises(ValueError, match="copy.* hold the same result"):
        collect([run])


def test_a_set_that_differs_between_runs_is_warned_of(tmp_path: Path) -> None:
    runs = [run_with(tmp_path / str(n), example(words=n)) for n in (5, 6)]
    assert "5 words in 2 utterances, 6 words" in warnings(collect(runs))[0]
    assert warnings(collect(runs[:1])) == []


def test_without_results_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run scripts/decode\.py"):
        collect([tmp_path])
    run = run_with(tmp_path / "run", example())
    with pytest.raises(ValueError, match="no result on noisy; there are clean"):
        collect([run], ["noisy"])


def test_a_folder_without_results_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run = run_with(tmp_path / "run", example())
    assert len(collect([tmp_path / "empty", run, run])) == 1


def test_the_csv_holds_every_figure(tmp_path: Path) -> None:
    results = [example("full", wer=2.0), replace(example("32/inf/64", "masked"), git_commit=None)]
    entries = collect([run_with(tmp_path / "run", *results)])
    full, masked = csv.DictReader(io.StringIO(to_csv(entries)))
    assert full["run"] == "run" and full["wer"] == "2.0" and full["latency_ms"] == ""
    assert [full[n] for n in ("chunk", "left", "right")] == ["-1", "-1", "0"]
    assert [masked[n] for n in ("chunk", "left", "right")] == ["32", "-1", "64"]
    assert (masked["streamable"], masked["latency_ms"]) == ("False", "1090")
    assert masked["git_commit"] == ""
