"""recipes/digits/babble.py: other speakers under every string, or alone."""

from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import make_cuts
from lhotse import CutSet

from recipes.digits.babble import Talkers, add_babble, mix, noise


@pytest.fixture
def talking(tmp_path: Path) -> CutSet:
    cuts = make_cuts(tmp_path / "talk", [1.0, 0.7, 1.5, 2.0, 0.9, 1.2])
    for cut, speaker in zip(cuts, "abcabc", strict=True):
        cut.supervisions[0].speaker = speaker
    return CutSet.from_cuts(cuts)


def test_babble_lies_under_the_speech_at_the_drawn_ratio(talking: CutSet, tmp_path: Path) -> None:
    mixed = list(mix(talking, Talkers(talking), tmp_path / "out", (2, 2), (5.0, 15.0), seed=1))
    ratios = []
    for clean, noisy in zip(talking, mixed, strict=True):
        assert noisy.duration == clean.duration
        assert noisy.supervisions[0].text == clean.supervisions[0].text
        assert clean.supervisions[0].speaker not in noisy.custom["babble"]
        assert len(set(noisy.custom["babble"])) == 2
        speech = clean.load_audio()
        babble = noisy.load_audio() - speech
        ratio = 20 * np.log10(speech.std() / babble.std())
        assert ratio == pytest.approx(noisy.custom["snr"], abs=0.2)
        ratios.append(ratio)
    assert 5 <= min(ratios) < max(ratios) <= 15


def test_a_loud_mixture_is_scaled_as_a_whole() -> None:
    speech, babble = np.full(8, 0.9), np.array([1.0, -1.0] * 4)
    mixed = add_babble(speech, babble, 0.0)
    assert np.abs(mixed).max() == pytest.approx(0.99)
    np.testing.assert_allclose(mixed / mixed[0], (speech + 0.9 * babble) / 1.8)


def test_what_babble_a_cut_gets_does_not_depend_on_the_others(
    talking: CutSet, tmp_path: Path
) -> None:
    talkers = Talkers(talking)
    whole = list(mix(talking, talkers, tmp_path / "a", (1, 2), (0.0, 9.0), seed=1))
    last = list(talking)[-1:]
    (alone,) = mix(CutSet.from_cuts(last), talkers, tmp_path / "b", (1, 2), (0.0, 9.0), seed=1)
    np.testing.assert_array_equal(alone.load_audio(), whole[-1].load_audio())


def test_babble_alone_lasts_as_long_as_asked(talking: CutSet, tmp_path: Path) -> None:
    cuts = list(noise(Talkers(talking), 4, 5.0, tmp_path / "out", (2, 3), "n", seed=1))
    assert [cut.duration for cut in cuts] == [5.0] * 4
    assert len({float(cut.load_audio().sum()) for cut in cuts}) == 4
    assert all(cut.load_audio()[0, -1600:].std() > 0.01 for cut in cuts)
    assert all(not cut.supervisions for cut in cuts)


def test_babble_needs_enough_other_speakers(talking: CutSet) -> None:
    with pytest.raises(ValueError, match="pool has 2 others"):
        Talkers(talking).babble(100, 3, "a", np.random.default_rng(0))
