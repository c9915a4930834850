"""Test sets as disks hold them: shards, damaged files, folders that cannot be written to."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from data.small_corpus import make_cuts, with_features, write_manifest
from tiny_run import tiny_run, write_cuts

from local.to_shar import to_shar
from zipformer.checkpoint.loading import LoadedModel
from zipformer.context import Context
from zipformer.data import loader
from zipformer.evaluation.evaluate import evaluate
from zipformer.evaluation.results import FIGURES, Mode, read_result


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


def test_shards_are_decoded_as_their_manifest_few_at_a_time(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = with_features(write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path, [1.0] * 7)))
    to_shar(cuts, tmp_path / "shar", num_jobs=1)
    monkeypatch.setattr(loader, "CUTS_OF_SHARDS", 3)
    results = [
        evaluate(loaded, path, "set", Context(32, 128, 0), decode_dir=tmp_path / f"{i}")
        for i, path in enumerate([cuts, tmp_path / "shar"])
    ]
    assert results[0].references == results[1].references
    assert results[0].errors == results[1].errors and results[1].utterances == 7


@pytest.mark.parametrize("mode", ["windowed", "stream"])
@pytest.mark.parametrize(
    "content",
    [
        b"no gzip at all",
        gzip.compress(b'{"id": "a", "start": 0'),
        gzip.compress(b'{"id": "a"}\n'),
        gzip.compress(b'{"a": 1}\n' * 9)[:-12],
        gzip.compress(b"\xff\xfe\n"),
    ],
    # gzip writes the time of day: the bytes themselves name no test twice alike
    ids=["no gzip", "half a line", "no cut", "cut short", "no text"],
)
def test_what_is_no_manifest_is_named(
    loaded: LoadedModel, tmp_path: Path, mode: Mode, content: bytes
) -> None:
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cuts\.jsonl\.gz cannot be read as a manifest"):
        evaluate(loaded, path, "set", Context(32, 128, 0), mode, decode_dir=tmp_path)


def test_a_folder_that_is_no_set_is_named(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder of shards"):
        evaluate(loaded, tmp_path, "set", Context.full(), decode_dir=tmp_path)


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("zipformer.evaluation.evaluate.decode_batches", None)  # never reached
    with pytest.raises(PermissionError, match=r"nothing can be written to .*\(--out\)"):
        cuts = write_cuts(tmp_path, "set", ["one"])
        evaluate(loaded, cuts, "set", Context.full(), decode_dir=tmp_path / "file" / "decode")


def test_a_result_on_other_utterances_is_kept_apart(
    loaded: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sets = [
        write_cuts(tmp_path, name, texts) for name, texts in (("a", ["one"]), ("b", ["two"] * 2))
    ]
    first = evaluate(loaded, sets[0], "set", Context.full(), decode_dir=tmp_path / "decode")
    evaluate(loaded, sets[0], "set", Context.full(), decode_dir=tmp_path / "decode")
    assert "other utterances" not in caplog.text
    evaluate(loaded, sets[1], "set", Context.full(), decode_dir=tmp_path / "decode")
    assert "an earlier result of this name is of other utterances (1 against 2)" in caplog.text
    assert len(list((tmp_path / "decode").glob(f"*/{FIGURES}"))) == 1
    (kept,) = (tmp_path / "decode" / "replaced").glob(f"*/{FIGURES}")
    assert read_result(kept).references == first.references
