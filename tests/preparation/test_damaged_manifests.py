"""What is no manifest of cuts, or only a part of one, is named by every step that reads it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from data.small_corpus import make_cuts, write_manifest
from lhotse import RecordingSet

from local.change_level import at_level
from local.compute_fbank import Settings, compute, cuts_of_recordings
from local.lazy_cuts import copy
from local.relocate import by_search, relocate
from local.to_shar import to_shar
from local.train_bpe import texts_of
from local.validate_manifest import validate
from zipformer.config import DataConfig
from zipformer.data.manifests import count_cuts, read_cuts
from zipformer.data.noise import NoiseMixer
from zipformer.data.sampler import TrainingSampler

READERS: dict[str, Callable[[Path], object]] = {
    "features": lambda path: compute(Settings(path, path.with_name("out.jsonl.gz"), path.parent)),
    "on the fly": lambda path: copy(path, path.with_name("out.jsonl.gz")),
    "shards": lambda path: to_shar(path, path.with_name("shar")),
    "token set": lambda path: list(texts_of([path], [])),
    "check": lambda path: validate(path, None, DataConfig()),
    "level": lambda path: list(at_level(read_cuts(path), 1.0, path.parent)),
    "noise": lambda path: NoiseMixer(path, 1.0, (0.0, 1.0)),
    "training": lambda path: TrainingSampler(DataConfig(train=(path,)), 1),
    "count": count_cuts,
}
CONTENTS = {
    "no gzip": b"audio\ttext\n",
    "no JSON": gzip.compress(b"audio\ttext\n"),
    "no cut": gzip.compress(b'{"id": "a"}\n'),
    "no text": gzip.compress(b"\xff\xfe\n"),
    "cut short": gzip.compress(b'{"id": "a"}\n' * 9)[:-12],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", CONTENTS)
def test_it_is_named(tmp_path: Path, reader: str, content: str) -> None:
    path = tmp_path / "some_cuts.jsonl.gz"
    path.write_bytes(CONTENTS[content])
    with pytest.raises(ValueError, match=r"some_cuts\.jsonl\.gz cannot be read as a manifest of c"):
        READERS[reader](path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("reader", READERS)
def test_recordings_are_no_cuts(tmp_path: Path, reader: str) -> None:
    (cut,) = make_cuts(tmp_path / "a", [0.5])
    path = tmp_path / "recordings.jsonl.gz"
    RecordingSet.from_recordings([cut.recording]).to_file(path)
    with pytest.raises(ValueError, match=r"recordings\.jsonl\.gz .* it holds a Recording"):
        READERS[reader](path)


def test_a_manifest_without_its_last_lines_is_named(tmp_path: Path) -> None:
    whole = gzip.decompress(
        write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [0.5, 0.5])).read_bytes()
    )
    path = tmp_path / "part.jsonl"
    path.write_bytes(whole[:-40])
    for name in ("features", "on the fly", "shards", "token set", "check"):
        with pytest.raises(ValueError, match=r"part\.jsonl cannot be read as a manifest of cuts"):
            READERS[name](path)


def test_older_manifests_and_those_to_relocate_are_named(tmp_path: Path) -> None:
    (cut,) = make_cuts(tmp_path / "a", [0.5])
    good, bad = tmp_path / "x_recordings.jsonl.gz", tmp_path / "bad.jsonl.gz"
    RecordingSet.from_recordings([cut.recording]).to_file(good)
    bad.write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"bad\.jsonl\.gz .* as a manifest of recordings"):
        cuts_of_recordings(bad, None, tmp_path)
    with pytest.raises(ValueError, match=r"bad\.jsonl\.gz .* as a manifest of supervisions"):
        cuts_of_recordings(good, bad, tmp_path)
    with pytest.raises(ValueError, match=r"bad\.jsonl\.gz .* as a manifest of recordings or cuts"):
        relocate(bad, by_search(tmp_path))
