"""local/change_level.py: test sets that are louder or softer."""

from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import make_cuts, write_manifest
from lhotse import CutSet
from preparation.steps import read, run_script

from local.change_level import at_level

STEP = 2**-15  # of 16 bits


@pytest.mark.parametrize("gain", [0.01, 0.5, 30.0])
def test_samples_are_multiplied_clipped_and_rounded(tmp_path: Path, gain: float) -> None:
    (cut,) = make_cuts(tmp_path / "a", [0.5])
    ((changed, clipped),) = at_level(CutSet.from_cuts([cut]), gain, tmp_path / "b")
    samples, found = cut.load_audio(), changed.load_audio()
    np.testing.assert_allclose(found, np.clip(gain * samples, -1, 1), atol=STEP)
    assert clipped == np.mean(np.abs(gain * samples) >= 1)
    assert (clipped > 0) == (gain == 30.0)
    assert changed.supervisions[0].text == cut.supervisions[0].text
    assert not changed.has_features


def test_ids_that_are_no_file_names_keep_their_own_audio(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [0.5, 0.6, 0.7])
    for cut, name in zip(cuts, ("a/b", "a_b", "ü" * 200), strict=True):
        cut.id = name
    changed = [cut for cut, _ in at_level(CutSet.from_cuts(cuts), 1.0, tmp_path / "b")]
    assert [cut.id for cut in changed] == ["a/b-x1", "a_b-x1", "ü" * 200 + "-x1"]
    for cut, before in zip(changed, cuts, strict=True):
        np.testing.assert_allclose(cut.load_audio(), before.load_audio(), atol=STEP)


def test_the_command_writes_a_manifest_and_says_what_clips(tmp_path: Path) -> None:
    write_manifest(tmp_path / "cuts.jsonl.gz", make_cuts(tmp_path / "a", [0.5, 0.4]))
    options = ["--cuts", tmp_path / "cuts.jsonl.gz", "--audio-dir", tmp_path / "b"]
    options += ["--out", tmp_path / "soft.jsonl.gz"]
    done = run_script("local/change_level.py", *options, "--gain", "0.1")
    assert done.stdout.endswith("2 cuts at 0.1 times the level, 0.00% clipped\n"), done.stderr
    assert [cut.custom["gain"] for cut in read(tmp_path / "soft.jsonl.gz")] == [0.1, 0.1]
    for wrong in ("0", "-1", "inf", "loud"):
        done = run_script("local/change_level.py", *options, "--gain", wrong)
        assert done.returncode == 2 and "--gain" in done.stderr
