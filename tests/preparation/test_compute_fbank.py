"""local/compute_fbank.py: a step of data preparation that recipes share."""

from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import make_cuts, write_cut, write_manifest
from lhotse import RecordingSet, SupervisionSegment, SupervisionSet
from preparation.steps import read

from local.compute_fbank import Settings, compute, cuts_of_recordings
from zipformer.data.features import extract


def settings(manifest: Path, **changes: object) -> Settings:
    folder = manifest.parent / "fbank"
    return Settings(manifest, folder / manifest.name, folder / "feats", **changes)  # type: ignore[arg-type]


def test_stored_features_are_those_of_the_audio(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0, 0.52, 2.001])
    wanted = settings(write_manifest(tmp_path / "m.jsonl.gz", cuts))
    assert compute(wanted) == []
    for cut, stored in zip(cuts, read(wanted.out), strict=True):
        features = extract(cut.load_audio(), 16000).numpy()
        np.testing.assert_array_equal(stored.load_features(), features)
        assert stored.num_frames == len(features)
        assert stored.supervisions[0].text == cut.supervisions[0].text


def test_features_of_a_part_of_a_recording_are_those_of_the_part(tmp_path: Path) -> None:
    (cut,) = make_cuts(tmp_path / "a", [3.0])
    part = cut.truncate(offset=1.0, duration=0.5, preserve_id=True)
    wanted = settings(write_manifest(tmp_path / "m.jsonl.gz", [part]))
    compute(wanted)
    (stored,) = read(wanted.out)
    np.testing.assert_array_equal(stored.load_features(), extract(part.load_audio()).numpy())


def test_the_number_of_jobs_changes_neither_order_nor_values(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [0.5] * 5))
    outcomes = []
    for jobs in (1, 2, 9):
        wanted = settings(manifest)
        compute(wanted, num_jobs=jobs)
        outcomes.append([(c.id, float(c.load_features().sum())) for c in read(wanted.out)])
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert not list(wanted.out.parent.glob("*part*"))


def test_speed_copies_last_accordingly(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [1.8]))
    wanted = settings(manifest, speed_factors=(0.9, 1.0, 1.2))
    compute(wanted)
    cuts = read(wanted.out)
    assert [cut.num_frames for cut in cuts] == [200, 180, 150]
    assert len({cut.id for cut in cuts}) == 3
    assert [len(cut.load_features()) for cut in cuts] == [200, 180, 150]


def test_other_sample_rates_are_resampled(tmp_path: Path) -> None:
    time = np.arange(8000) / 8000
    tone = (0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    wanted = settings(
        write_manifest(tmp_path / "m.jsonl.gz", [write_cut(tmp_path, "tone", tone, "one", 8000)])
    )
    compute(wanted)
    (stored,) = read(wanted.out)
    assert stored.sampling_rate == 16000
    time = np.arange(16000) / 16000
    expected = extract((0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)).numpy()
    middle = slice(5, -5)  # a filter has nothing to go by at the ends
    loud = expected[middle] > expected.max() - 5  # the tone; what lies far below is rounding
    np.testing.assert_allclose(
        stored.load_features()[middle][loud], expected[middle][loud], atol=0.02
    )


def test_a_cut_of_several_channels_is_an_error_that_names_it(tmp_path: Path) -> None:
    cut = write_cut(tmp_path, "stereo", np.zeros((8000, 2), dtype=np.float32), "one")
    wanted = settings(write_manifest(tmp_path / "m.jsonl.gz", [cut]))
    with pytest.raises(ValueError, match=r"cut stereo \(.*stereo\.wav\) has 2 channels"):
        compute(wanted)
    assert not wanted.out.exists()


def test_a_seeded_shuffle_keeps_every_cut(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [0.1] * 12))
    wanted = settings(manifest)
    orders = []
    for seed in (None, 1, 1, 2):
        compute(wanted, shuffle_seed=seed)
        orders.append([cut.id for cut in read(wanted.out)])
    assert orders[1] == orders[2] != orders[3]
    assert all(sorted(order) == orders[0] for order in orders)


def damaged(folder: Path) -> Path:
    """Ten cuts: one holds no audio, one is missing, one is empty, one is not finite."""
    cuts = make_cuts(folder / "a", [0.5] * 7)
    Path(cuts[1].recording.sources[0].source).write_bytes(b"fLaC?")
    Path(cuts[4].recording.sources[0].source).unlink()
    cuts.append(write_cut(folder, "empty", np.zeros(10, dtype=np.float32), "one"))
    cuts.append(write_cut(folder, "nan", np.full(8000, np.nan, dtype=np.float32), "one"))
    return write_manifest(folder / "m.jsonl.gz", cuts)


@pytest.mark.parametrize("jobs", [1, 2])
def test_damaged_audio_is_skipped_and_counted(tmp_path: Path, jobs: int) -> None:
    wanted = settings(damaged(tmp_path))
    skipped = compute(wanted, num_jobs=jobs, max_bad_share=0.5)
    reasons = {s.name: s.reason for s in skipped}
    assert reasons == {
        "cut001": "unreadable",
        "cut004": "unreadable",
        "empty": "too short",
        "nan": "samples that are not finite numbers",
    }
    assert [cut.id for cut in read(wanted.out)] == [
        "cut000",
        "cut002",
        "cut003",
        "cut005",
        "cut006",
    ]


def test_too_much_damaged_audio_is_an_error_that_names_files(tmp_path: Path) -> None:
    wanted = settings(damaged(tmp_path))
    with pytest.raises(ValueError, match=r"4 of 9 cuts.*--max-bad-share.*cut001.*cut001\.wav"):
        compute(wanted, max_bad_share=0.1)
    assert list(wanted.out.parent.glob("*.jsonl.gz")) == []


def test_recordings_and_supervisions_become_one_cut_per_utterance(tmp_path: Path) -> None:
    (cut,) = make_cuts(tmp_path / "a", [3.0])
    RecordingSet.from_recordings([cut.recording]).to_file(tmp_path / "x_recordings.jsonl.gz")
    spans = [(0.0, 1.0, "one"), (1.5, 0.5, "two")]
    SupervisionSet.from_segments(
        SupervisionSegment(id=text, recording_id=cut.id, start=start, duration=length, text=text)
        for start, length, text in spans
    ).to_file(tmp_path / "x_supervisions.jsonl.gz")
    path = cuts_of_recordings(
        tmp_path / "x_recordings.jsonl.gz", tmp_path / "x_supervisions.jsonl.gz", tmp_path / "out"
    )
    assert path.name == "x_cuts.jsonl.gz"
    cuts = read(path)
    assert [(c.start, c.duration, c.supervisions[0].text) for c in cuts] == spans
