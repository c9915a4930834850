"""The page holds all that a run has, and says what it lacks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from report.example_run import CONTEXTS, HANDLER, SCRIPT
from report.outline import assert_self_contained

from zipformer.report import write_report
from zipformer.report.run_page import to_html
from zipformer.report.run_summary import read_run

ROOT = Path(__file__).parents[2]


def headings(page: str) -> list[str]:
    return [part.split("<")[0] for part in page.split("</h2>") for part in [part.split(">")[-1]]]


def test_the_page_is_one_file_that_runs_and_loads_nothing(report: Path) -> None:
    page = report.read_text()
    assert_self_contained(page)
    assert "default-src 'none'" in page
    assert sorted(p.name for p in report.parent.iterdir()) == ["report.html"]


def test_texts_of_the_run_stay_texts(report: Path) -> None:
    page = report.read_text()
    assert SCRIPT not in page and HANDLER not in page and "<b>" not in page.replace("<b class", "")
    assert "unified &lt;b&gt;" in page
    assert page.count("&lt;script&gt;document.title") > 1  # in a transcript and in the config
    assert "&amp;lt;b&amp;gt;" in page  # heard as it stands there, not as a tag


def test_it_shows_curves_rates_choice_words_config_and_environment(report: Path) -> None:
    page = report.read_text()
    titles = ["Curves", "Word error rates", "Choice of the checkpoint", "Worst utterances"]
    assert headings(page)[:6] == [*titles, "Config", "Environment"]
    for context in CONTEXTS:
        assert f"<td>{context}</td>" in page
    assert "29.00" in page and "WER over" not in page and "algorithmic latency in ms" in page
    assert "epoch 3, avg 2 has the lowest WER, 7.00 %" in page and "* 7.00" in page
    assert "cuda:0, bf16" in page and "seed = 42" in page
    for name in ("training s 4,000", "training audio h 2.0", "lowest validation WER, 32/256/64"):
        assert name in page


def test_a_run_that_only_trains_or_only_decoded_has_a_page(
    example_run: Path, tmp_path: Path
) -> None:
    training, decoded = tmp_path / "training", tmp_path / "decoded"
    training.mkdir()
    shutil.copy(example_run / "metrics.jsonl", training)
    page = to_html(read_run(training))
    assert "Nothing is decoded yet: run scripts/decode.py" in page
    assert '<figure class="small">' in page
    assert "Worst utterances" not in page and "Config" not in page
    shutil.copytree(example_run / "decode", decoded / "decode")
    page = to_html(read_run(decoded))
    assert "There is no metrics.jsonl" in page and "<table>" in page
    assert '<figure class="small">' not in page


def test_two_test_sets_of_one_name_are_pointed_out(example_run: Path, tmp_path: Path) -> None:
    shutil.copytree(example_run / "decode", tmp_path / "decode")
    path = next((tmp_path / "decode").glob("clean*full*/wer.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "references": "changed"}))
    assert "set clean is not the same in all results" in to_html(read_run(tmp_path))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder of a run.*metrics.jsonl"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_script_writes_into_the_folder_of_the_run(example_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(example_run, tmp_path / "run")
    command = [sys.executable, ROOT / "scripts" / "report.py", run, "--worst", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Page: {run / 'report.html'}\n"
    assert (run / "report.html").read_text().count("<article>") == 8
    done = subprocess.run([*command[:2], tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
