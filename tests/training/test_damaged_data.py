"""Data that are damaged, changed or empty cost a cut or a clear line, never what was learned."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from lhotse import CutSet
from training.runs import records
from training.tiny_corpus import tiny_asr_config, write_corpus
from training.tiny_task import TinyTask, tiny_config

from zipformer.checkpoint import fingerprint
from zipformer.checkpoint.files import epoch_path, load
from zipformer.training.exclusive import only_training_in
from zipformer.training.loop import fit


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    return write_corpus(tmp_path / "corpus")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def lengthen(path: Path) -> None:
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples.repeat(9)[: 16000 * 7], rate)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(shorten, "cannot be read"), (Path.unlink, "cannot be read"), (lengthen, "lasts 7 s")],
)
def test_a_validation_cut_that_cannot_be_used_is_left_out_by_name_once(
    corpus: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    reason: str,
) -> None:
    spoil(corpus / "valid-1.wav")
    if spoil is lengthen:
        cuts = list(CutSet.from_file(corpus / "valid.jsonl.gz"))
        cuts[1] = replace_recording(cuts[1])
        CutSet.from_cuts(cuts).to_file(corpus / "valid.jsonl.gz")
    fit(tiny_asr_config(corpus, tmp_path / "exp"))
    warned = [r.message for r in caplog.records if "validation leaves out" in r.message]
    assert len(warned) == 1 and "valid-1" in warned[0] and reason in warned[0]
    valid = [r for r in records(tmp_path / "exp") if r["kind"] == "valid"]
    assert len(valid) == 2 and all(0 < r["loss"] < 100 for r in valid)


def replace_recording(cut: Any) -> Any:
    from lhotse import Recording

    longer = Recording.from_file(cut.recording.sources[0].source)
    return replace(cut, recording=longer, duration=longer.duration)


def test_what_was_trained_is_saved_before_a_validation_that_fails(tmp_path: Path) -> None:
    class Blind(TinyTask):
        def validate(self, model: Any, processes: Any) -> dict[str, float]:
            raise ValueError("nothing to see")

    config = tiny_config(tmp_path, save_every=0, num_epochs=2)
    with pytest.raises(ValueError, match="nothing to see"):
        fit(config, Blind())
    assert list(tmp_path.glob("checkpoint-*.pt"))
    fit(config, TinyTask())  # goes on from there
    assert epoch_path(tmp_path, 2).exists()


@pytest.mark.parametrize("texts", [[None], []])
def test_a_validation_set_without_transcripts_is_refused_at_the_start(
    corpus: Path, tmp_path: Path, texts: list[None]
) -> None:
    cuts = [c.drop_supervisions() for c in CutSet.from_file(corpus / "valid.jsonl.gz")]
    (corpus / "valid.jsonl.gz").unlink()
    CutSet.from_cuts(cuts[: 4 * len(texts)]).to_file(corpus / "valid.jsonl.gz")
    (corpus / "valid.jsonl.gz").touch()
    with pytest.raises(ValueError, match=r"valid\.jsonl\.gz holds no cut with a transcript"):
        fit(tiny_asr_config(corpus, tmp_path / "exp"))


def test_a_missing_validation_set_is_refused_at_the_start(corpus: Path, tmp_path: Path) -> None:
    (corpus / "valid.jsonl.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"valid\.jsonl\.gz"):
        fit(tiny_asr_config(corpus, tmp_path / "exp"))


def test_without_anything_to_validate_no_epoch_is_the_best(corpus: Path, tmp_path: Path) -> None:
    config = tiny_asr_config(corpus, tmp_path / "exp", num_epochs=1)
    fit(replace(config, data=replace(config.data, valid=())))
    assert epoch_path(tmp_path / "exp", 1).exists()
    assert not list((tmp_path / "exp").glob("best-*.pt"))


@pytest.mark.parametrize(("steps", "what"), [(3, "some cuts come twice"), (0, "next epoch is of")])
def test_training_data_that_changed_before_a_resume_are_said_and_stay_in_the_record(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, steps: int, what: str
) -> None:
    exp = tmp_path / "exp"
    fit(tiny_asr_config(corpus, exp, max_steps=steps, num_epochs=1, save_every=1))
    cuts = list(CutSet.from_file(corpus / "train.jsonl.gz"))
    CutSet.from_cuts(cuts[:7]).to_file(corpus / "train.jsonl.gz")
    fingerprint._of_manifests.cache_clear()  # a process reads them once
    for _ in range(2):
        fit(tiny_asr_config(corpus, exp, num_epochs=2))
    warned = [r.message for r in caplog.records if "training data have changed" in r.message]
    assert len(warned) == 1 and what in warned[0]
    stored = load(epoch_path(exp, 2))["provenance"]
    assert stored and stored["data"] and len(set(stored["data"].split("+"))) == 2


def test_a_second_training_in_a_folder_is_refused(tmp_path: Path) -> None:
    with only_training_in(tmp_path, True):
        with pytest.raises(ValueError, match=r"another training runs in .*process \d+ on "):
            fit(tiny_config(tmp_path), TinyTask())
        with only_training_in(tmp_path, False):  # another process of the same training
            pass
    fit(tiny_config(tmp_path), TinyTask())  # nothing is left of a training that has ended


def test_a_killed_training_holds_no_folder(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import pathlib, sys; from zipformer.training.exclusive import only_training_in\n"
        "with only_training_in(pathlib.Path(sys.argv[1]), True):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"process {process.pid} on"):
            with only_training_in(tmp_path, True):
                pass
        process.kill()
    with only_training_in(tmp_path, True):
        pass


@pytest.mark.parametrize("storage", ["numpy_files", "lilcom_chunky"])
@pytest.mark.parametrize("damage", ["short", "zero", "empty"])
def test_stored_features_that_are_damaged_are_left_out_by_name(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, storage: str, damage: str
) -> None:
    from local.compute_fbank import Settings, compute

    raw, stored = corpus / "train.jsonl.gz", tmp_path / "train.jsonl.gz"
    compute(Settings(cuts=raw, out=stored, storage_dir=tmp_path / "feats", storage=storage))
    cuts = list(CutSet.from_file(stored))
    spoiled = cuts[3].features
    if storage == "numpy_files":
        file, start, length = Path(spoiled.storage_path) / spoiled.storage_key, 0, None
    else:
        offset, *lengths = map(int, spoiled.storage_key.split(","))
        file, start, length = Path(spoiled.storage_path), offset, sum(lengths)
    content = file.read_bytes()
    end = len(content) if length is None else start + length
    kept = {"short": content[start : start + 100], "zero": b"", "empty": b""}[damage]
    if damage == "zero" or length is not None:  # an archive keeps its length
        kept = kept.ljust(end - start, b"\0")
    file.write_bytes(content[:start] + kept + content[end:])
    config = tiny_asr_config(corpus, tmp_path / "exp", num_epochs=1)
    data = replace(config.data, train=(stored,), max_bad_share=0.5)
    with caplog.at_level(logging.WARNING):
        fit(replace(config, data=data))
    assert any(f"left out cut {cuts[3].id}" in r.message for r in caplog.records)
    assert torch.isfinite(
        load(epoch_path(tmp_path / "exp", 1))["model"]["ctc_output.1.weight"]
    ).all()
