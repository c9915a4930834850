"""Tables put every figure where it belongs."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation.example_results import UTTERANCES, example

from zipformer.evaluation.results import Result, write_result
from zipformer.evaluation.table import to_markdown
from zipformer.report.compare import Entry, check_sets, collect, make_table, to_csv, warnings


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


def marked(*results: Result) -> list[str]:
    """The last column of a table with these results, one a row."""
    contexts = [f"32/{128 + 32 * i}/0" for i in range(len(results))]
    entries = [
        Entry("run", replace(r, context=c), Path("wer.json"))
        for r, c in zip(results, contexts, strict=True)
    ]
    table = make_table(entries)
    return [row[-1] for row in table.rows] if table.head[-1] == "marks" else []


KNOWN = replace(
    example(),
    references="aa",
    train_data="d1",
    train_settings="s1",
    train_commit="c1",
    train_seconds=5025.4,
    train_audio_seconds=7200.0,
)


@pytest.mark.parametrize(
    "change,mark",
    [
        ({"train_data": "d2"}, "data"),
        ({"train_settings": "s2"}, "settings"),
        ({"git_commit": "other"}, "code"),
        ({"train_commit": "c2", "git_commit": None}, "code"),
        ({"train_commit": None}, "code?"),
        ({"train_data": None}, "data?"),
        ({"git_commit": "abc123-dirty"}, "code, uncommitted"),
        ({"train_data": "d2", "train_settings": "s2"}, "data, settings"),
    ],
)
def test_a_row_says_what_it_has_other_than_the_first(change: dict[str, str], mark: str) -> None:
    assert marked(KNOWN, replace(KNOWN, **change), KNOWN) == ["", mark, ""]  # type: ignore[arg-type]


def test_rows_of_one_origin_need_no_marks_and_uncommitted_code_marks_every_row() -> None:
    assert marked(KNOWN, KNOWN) == []
    dirty = replace(KNOWN, train_commit="c1-dirty")
    assert marked(dirty, dirty) == ["uncommitted", "uncommitted"]


def test_marks_are_explained(tmp_path: Path) -> None:
    other = replace(KNOWN, train_data="d2", right_mode="stream")
    run = run_with(tmp_path / "run", KNOWN, other)
    assert warnings(collect([run])) == [
        "Rows marked data were trained on other data than the first row."
    ]


def test_what_training_took_stands_beside_the_error_rates(tmp_path: Path) -> None:
    older = example("32/128/0")
    table = make_table(collect([run_with(tmp_path / "run", KNOWN, older)]))
    assert table.head[6:9] == ["training s", "training audio h", "clean WER %"]
    assert [row[6:8] for row in table.rows] == [["-", "-"], ["5,025", "2.0"]]


@pytest.mark.parametrize(
    "first,second",
    [
        (replace(KNOWN, references="aa"), replace(KNOWN, references="bb")),
        (replace(KNOWN, words=5), replace(KNOWN, words=6, references=None)),
        (replace(KNOWN, references=None, words=5), replace(KNOWN, references=None, words=6)),
    ],
    ids=["other texts", "one of an older version", "both of an older version"],
)
def test_two_test_sets_of_one_name_are_refused(
    tmp_path: Path, first: Result, second: Result
) -> None:
    runs = [run_with(tmp_path / "a", first), run_with(tmp_path / "b", second)]
    with pytest.raises(ValueError, match=r"set clean is not the same .*a/decode.*b/decode"):
        check_sets(collect(runs))
    check_sets(collect(runs[:1]))


def test_an_older_result_between_two_sets_does_not_hide_that_they_differ(tmp_path: Path) -> None:
    texts = {"a": None, "b": "aa", "c": "bb"}
    runs = [run_with(tmp_path / n, replace(KNOWN, references=t)) for n, t in texts.items()]
    check_sets(collect(runs[:2]))
    with pytest.raises(ValueError, match="texts aa .* texts bb "):
        check_sets(collect(runs))


def test_different_sets_of_different_names_are_no_mixture(tmp_path: Path) -> None:
    babble = replace(KNOWN, set="babble", references="bb", words=9)
    check_sets(collect([run_with(tmp_path / "run", KNOWN, babble)]))


def test_older_results_compare_with_a_warning(tmp_path: Path) -> None:
    runs = [run_with(tmp_path / "a", KNOWN), run_with(tmp_path / "b", example())]
    found = warnings(collect(runs))
    assert "set clean is the same in all rows cannot be told: 1 of 2" in found[0]
    assert "question mark" in found[-1]
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
