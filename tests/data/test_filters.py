from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import make_cuts, make_tokenizer, with_features, write_cut, write_manifest
from lhotse import CutSet
from lhotse.cut import MonoCut

from zipformer.config import DataConfig
from zipformer.data.filters import TrainingFilter

CONFIG = DataConfig(min_seconds=0.5, max_seconds=4.0)


@pytest.fixture
def keep(tmp_path: Path) -> TrainingFilter:
    return TrainingFilter(CONFIG, make_tokenizer(tmp_path))


def make_cut(folder: Path, seconds: float, text: str | None = "one", rate: int = 16000) -> MonoCut:
    samples = 0.1 * np.ones(round(seconds * rate), dtype=np.float32)
    return write_cut(folder, "it", samples, text, rate)


@pytest.mark.parametrize(
    ("seconds", "text", "reason"),
    [
        (0.005, "one", "empty or nearly so"),
        (0.4, "one", "shorter than data.min_seconds"),
        (4.5, "one", "longer than data.max_seconds"),
        (1.0, None, "no transcript"),
        (1.0, "  ", "no transcript"),
        (0.6, "one " * 12, "more tokens than output frames"),
    ],
)
def test_what_cannot_be_trained_on_is_dropped_with_a_count(
    keep: TrainingFilter, tmp_path: Path, seconds: float, text: str | None, reason: str
) -> None:
    cut = make_cut(tmp_path, seconds, text)
    assert not keep(cut)
    assert not keep(cut)
    assert dict(keep.dropped) == {reason: 2}


def test_a_cut_without_duration_is_dropped(keep: TrainingFilter, tmp_path: Path) -> None:
    cut = replace(make_cut(tmp_path, 1.0), duration=0.0)
    assert not keep(cut)
    assert dict(keep.dropped) == {"empty or nearly so": 1}


def test_two_output_frames_must_be_left_over(keep: TrainingFilter, tmp_path: Path) -> None:
    # 60 frames give 13 outputs: 11 words of one token each are the most.
    assert keep(make_cut(tmp_path, 0.6, "one " * 11))
    assert not keep(make_cut(tmp_path, 0.6, "one " * 12))


def test_the_fastest_speed_decides(keep: TrainingFilter, tmp_path: Path) -> None:
    cut = make_cut(tmp_path, 0.6, "one " * 11)
    faster = TrainingFilter(replace(CONFIG, speed_factors=(1.0, 1.1)), keep.tokenizer)
    assert keep(cut)
    assert not faster(cut)


def test_the_unit_of_stored_features_is_their_frames(keep: TrainingFilter, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", [make_cut(tmp_path, 0.6, "one " * 11)])
    (cut,) = CutSet.from_file(with_features(manifest))
    assert keep(cut)


def test_speed_factors_with_stored_features_are_refused(
    keep: TrainingFilter, tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [1.0]))
    (cut,) = CutSet.from_file(with_features(manifest))
    faster = TrainingFilter(replace(CONFIG, speed_factors=(0.9, 1.0)), keep.tokenizer)
    with pytest.raises(ValueError, match=r"speed_factors.*cut000.*stored features"):
        faster(cut)


def test_characters_outside_the_vocabulary_are_named_with_their_cut(
    keep: TrainingFilter, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"cut it: .*'!' 'Q'"):
        keep(make_cut(tmp_path, 1.0, "one! Q two"))


def test_another_sample_rate_names_the_file_and_both_rates(
    keep: TrainingFilter, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"it\.wav.*8000 Hz.*16000 Hz.*resample in preparation"):
        keep(make_cut(tmp_path, 1.0, rate=8000))


def test_features_of_another_kind_are_refused(keep: TrainingFilter, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [1.0]))
    (cut,) = CutSet.from_file(with_features(manifest))
    cut.features = replace(cut.features, type="mfcc")
    with pytest.raises(ValueError, match="'mfcc'"):
        keep(cut)
