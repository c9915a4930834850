"""local/lib/feature_chunks.py: what is done again, what is not, and what a full disk does."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import make_cuts, write_cut, write_manifest
from lhotse import Recording
from preparation.small_librispeech import ASSETS, audio_of
from preparation.steps import ROOT, read

from local.compute_fbank import Settings, compute
from local.lib import feature_chunks
from local.lib.feature_chunks import check_room, default_storage


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [0.4] * 6))


def settings(manifest: Path, **changes: object) -> Settings:
    folder = manifest.parent / "fbank"
    return Settings(manifest, folder / manifest.name, folder / "feats", **changes)  # type: ignore[arg-type]


class Interrupted(Exception):
    pass


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the cuts whose features are computed; "stop" in front of it interrupts the next."""
    done: list[str] = []
    real = feature_chunks._with_features

    def watched(cut, *args):  # type: ignore[no-untyped-def]
        if done[:1] == ["stop"] and len(done) == 4:
            raise Interrupted
        done.append(cut.id)
        return real(cut, *args)

    monkeypatch.setattr(feature_chunks, "_with_features", watched)
    monkeypatch.setattr(feature_chunks, "CHUNK", 2)
    return done


def test_what_is_finished_is_not_computed_again(manifest: Path, extracted: list[str]) -> None:
    compute(settings(manifest))
    assert len(extracted) == 6
    compute(settings(manifest))
    assert len(extracted) == 6
    compute(settings(manifest), redo=True)
    assert len(extracted) == 12


def test_an_interrupted_run_goes_on_with_the_next_chunk(
    manifest: Path, extracted: list[str]
) -> None:
    compute(settings(manifest))
    whole = [(c.id, c.load_features().sum()) for c in read(settings(manifest).out)]
    extracted[:] = ["stop"]
    with pytest.raises(Interrupted):
        compute(settings(manifest), redo=True)
    assert not settings(manifest).out.exists()
    extracted[:] = []
    compute(settings(manifest))
    assert extracted == ["cut002", "cut003", "cut004", "cut005"]
    assert [(c.id, c.load_features().sum()) for c in read(settings(manifest).out)] == whole


@pytest.mark.parametrize(
    "change", [{"speed_factors": (1.0, 1.1)}, {"num_features": 40}, {"sample_rate": 8000}]
)
def test_other_settings_are_not_taken_for_the_same(
    manifest: Path, extracted: list[str], change: dict[str, object]
) -> None:
    compute(settings(manifest))
    extracted[:] = []
    compute(settings(manifest, **change))
    assert len(extracted) == 6 * len(change.get("speed_factors", (1.0,)))  # type: ignore[arg-type]
    compute(settings(manifest))
    assert {cut.num_features for cut in read(settings(manifest).out)} == {80}


def test_other_cuts_are_not_taken_for_the_same(
    manifest: Path, extracted: list[str], tmp_path: Path
) -> None:
    compute(settings(manifest))
    write_manifest(manifest, make_cuts(tmp_path / "a", [0.4] * 5 + [0.5]))
    extracted[:] = []
    compute(settings(manifest))
    assert len(extracted) == 6
    assert read(settings(manifest).out)[-1].duration == 0.5


def test_a_manifest_that_something_else_wrote_is_made_again(
    manifest: Path, extracted: list[str]
) -> None:
    compute(settings(manifest))
    settings(manifest).out.write_bytes(manifest.read_bytes())
    extracted[:] = []
    compute(settings(manifest))
    assert len(extracted) == 6
    assert all(cut.has_features for cut in read(settings(manifest).out))


def test_what_was_skipped_is_known_without_computing_it_again(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [0.4] * 3)
    Path(cuts[1].recording.sources[0].source).unlink()
    wanted = settings(write_manifest(tmp_path / "m.jsonl.gz", cuts), speed_factors=(0.9, 1.0))
    first = compute(wanted, max_bad_share=0.5)
    assert [(s.name, s.reason) for s in first] == [("cut001", "unreadable")]
    assert compute(wanted, max_bad_share=0.5) == first


def test_features_lie_on_disk_in_the_order_of_a_shuffled_manifest(tmp_path: Path) -> None:
    lilcom = pytest.importorskip("lilcom", reason="needs lilcom's archives")
    assert lilcom and default_storage() == "lilcom_chunky"
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [0.4] * 9))
    wanted = settings(manifest, storage="lilcom_chunky", speed_factors=(0.9, 1.0))
    compute(wanted, shuffle_seed=3)
    cuts = read(wanted.out)
    places = [int(cut.features.storage_key.split(",")[0]) for cut in cuts]
    assert places == sorted(places)
    assert [cut.id for cut in cuts] != sorted(cut.id for cut in cuts)


def test_lilcom_keeps_features_to_a_64th(tmp_path: Path) -> None:
    pytest.importorskip("lilcom", reason="needs lilcom")
    (cut,) = make_cuts(tmp_path / "a", [8.0])
    manifest = write_manifest(tmp_path / "m.jsonl.gz", [cut])
    stored = []
    for storage in ("numpy_files", "lilcom_chunky"):
        compute(settings(manifest, storage=storage))
        (made,) = read(settings(manifest).out)
        stored.append(np.array(made.load_features()))
    assert np.abs(stored[0] - stored[1]).max() <= 1 / 32


@pytest.mark.parametrize("storage", ["numpy_files", "lilcom_chunky"])
def test_the_room_that_features_take_is_estimated(tmp_path: Path, storage: str) -> None:
    if storage == "lilcom_chunky":
        pytest.importorskip("lilcom", reason="needs lilcom")
    cuts = [Recording.from_file(path).to_cut() for path in audio_of(ASSETS)]
    wanted = settings(write_manifest(tmp_path / "m.jsonl.gz", cuts), storage=storage)
    compute(wanted)
    files = [p for p in wanted.storage_dir.rglob("*") if p.suffix in (".npy", ".lca")]
    taken = sum(path.stat().st_size for path in files)
    seconds = sum(cut.duration for cut in cuts)
    assert taken == pytest.approx(seconds * feature_chunks.BYTES_PER_SECOND[storage], rel=0.1)


def test_too_small_a_disk_is_an_error_before_anything_is_computed(
    manifest: Path, extracted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.lib.disk_space.free_bytes", lambda folder: 10_000)
    with pytest.raises(ValueError, match=r"takes about 0\.0 GB.*lilcom.*on the fly"):
        compute(settings(manifest))
    assert not extracted


def test_the_room_for_all_sets_together_is_checked_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = []
    for name in ("one", "two"):
        manifest = write_manifest(tmp_path / f"{name}.jsonl.gz", make_cuts(tmp_path / "a", [2.0]))
        out = tmp_path / "fbank" / manifest.name
        wanted.append(Settings(manifest, out, tmp_path / "fbank" / "feats" / name))
    seconds = 2 * feature_chunks.BYTES_PER_SECOND["numpy_files"]
    monkeypatch.setattr("local.lib.disk_space.free_bytes", lambda folder: 1.5 * seconds)
    with pytest.raises(ValueError, match="features of 0 hours as numpy_files takes"):
        check_room(wanted)
    compute(wanted[0])
    check_room(wanted)


def test_a_disk_that_fills_up_is_one_line_and_the_next_run_goes_on(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [0.3, 0.3])
    samples = np.random.default_rng(0).standard_normal(16000 * 9).astype(np.float32)
    cuts.append(write_cut(tmp_path / "a", "long", 0.1 * samples, "one"))
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    command = [sys.executable, ROOT / "local/compute_fbank.py", "--cuts", manifest]
    command += ["--out-dir", tmp_path / "fbank", "--num-jobs", "2", "--storage", "numpy_files"]

    def small_files() -> None:  # a limit that writing meets as it meets the end of a disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write more to ")
    assert "Traceback" not in done.stderr and "what is finished is kept" in done.stderr
    out = tmp_path / "fbank" / "m.jsonl.gz"
    assert not out.exists()
    compute(Settings(manifest, out, tmp_path / "fbank" / "feats" / "m"), num_jobs=2)
    assert [cut.id for cut in read(out)] == ["cut000", "cut001", "long"]
