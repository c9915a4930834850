"""local/validate_manifest.py: a step of data preparation that recipes share."""

from pathlib import Path

import numpy as np
from data.small_corpus import make_cuts, make_tokenizer, write_cut, write_manifest
from preparation.steps import run_script

from local.lib.skipped import Skipped, write_skipped
from local.validate_manifest import left_out, table, validate
from zipformer.config import DataConfig


def test_a_summary_counts_cuts_hours_and_what_training_drops(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0, 2.0])
    rng = np.random.default_rng(0)
    cuts.append(write_cut(tmp_path, "much", rng.standard_normal(8000), "one " * 30))
    cuts.append(write_cut(tmp_path, "mute", rng.standard_normal(8000), None))
    manifest = write_manifest(tmp_path / "some.jsonl.gz", cuts)
    summary = validate(manifest, make_tokenizer(tmp_path), DataConfig(), load=True)
    assert (summary.cuts, summary.seconds, summary.words) == (4, 4.0, 34)
    assert summary.speakers == {"ann"}
    assert dict(summary.dropped) == {"more tokens than output frames": 1, "no transcript": 1}
    assert summary.errors == []
    text = table([summary])
    assert "some" in text and "training drops 1: no transcript" in text


def test_a_summary_names_every_error(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0] * 3)
    cuts[2].id = cuts[0].id
    Path(cuts[1].recording.sources[0].source).unlink()
    samples = np.ones(8000, dtype=np.float32)
    cuts.append(write_cut(tmp_path, "loud", samples, "ONE"))
    cuts.append(write_cut(tmp_path, "phone", samples, "one", rate=8000))
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    errors = validate(manifest, make_tokenizer(tmp_path), DataConfig(), load=True).errors
    assert len(errors) == 4
    for part in ("cut000 occurs more than once", "cut001", "'ONE'", "8000 Hz"):
        assert any(part in error for error in errors)


def test_the_command_fails_on_problems(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0] * 2)
    cuts[0].supervisions[0].text = "ONE"
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    make_tokenizer(tmp_path)
    command = ("local/validate_manifest.py", manifest, "--bpe-model")
    done = run_script(*command, tmp_path / "bpe.model")
    assert done.returncode == 1
    assert "ERROR m: cut cut000" in done.stdout
    missing = run_script(*command, tmp_path / "no.model")
    assert missing.returncode == 1
    assert "no.model not found" in missing.stderr and "Traceback" not in missing.stderr


def test_test_sets_may_hold_what_training_drops(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0, 3.0, 3.0])
    cuts[0].supervisions[0].text = "ONE"
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    make_tokenizer(tmp_path)
    command = ["local/validate_manifest.py", "--max-seconds", "2"]
    command += ["--bpe-model", tmp_path / "bpe.model", "--out", tmp_path / "summary.txt"]
    assert run_script(*command, "--tests", manifest).returncode == 0
    text = (tmp_path / "summary.txt").read_text()
    assert "m: training drops 2: longer than data.max_seconds" in text
    assert "m: 1 with characters that no token can write" in text
    done = run_script(*command, manifest)
    assert done.returncode == 1
    assert "ERROR m: cut cut000" in done.stdout
    assert "ERROR m: 3 cuts, training would drop 2" in done.stdout


def test_without_a_token_set_lengths_and_ids_are_checked(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0, 2.0, 40.0])
    cuts[0].supervisions[0].text = "\u00c4"
    cuts[1].id = cuts[0].id
    summary = validate(write_manifest(tmp_path / "m.jsonl.gz", cuts), None, DataConfig())
    assert summary.dropped == {"longer than data.max_seconds": 1}
    assert summary.errors == ["cut cut000 occurs more than once"]


def test_some_of_the_data_are_read(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [0.5] * 5)
    for cut in cuts:
        Path(cut.recording.sources[0].source).unlink()
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    for every, errors in ((1, 5), (2, 3), (9, 1)):
        assert len(validate(manifest, None, DataConfig(), True, every).errors) == errors


def test_what_preparation_left_out_is_in_the_table(tmp_path: Path) -> None:
    skipped = [Skipped(str(i), "a.flac", "empty audio file") for i in range(3)]
    write_skipped(tmp_path / "set.skipped.tsv", skipped)
    (line,) = left_out([tmp_path / "set.skipped.tsv", tmp_path / "other.skipped.tsv"])
    assert line.startswith("set: preparation left out 3: empty audio file")


def test_cuts_that_two_manifests_have_are_counted_and_said_to_be_trained_on(
    tmp_path: Path,
) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0, 1.1, 1.2, 1.3])
    others = make_cuts(tmp_path / "b", [0.7, 0.8])  # of the same ids
    first = write_manifest(tmp_path / "first.jsonl.gz", cuts)
    second = write_manifest(tmp_path / "second.jsonl.gz", [*others, *cuts[2:]])
    command = ("local/validate_manifest.py", "--num-jobs", "2", first)
    both = run_script(*command, second)
    assert both.returncode == 0 and "second: 2 that first has too" in both.stdout, both.stderr
    tested = run_script(*command, "--tests", second)
    assert "second: 2 that first has too, which is trained on" in tested.stdout
    write_manifest(second, others)
    assert "has too" not in run_script(*command, "--tests", second).stdout
