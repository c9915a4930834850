"""What lhotse's readers give becomes cuts whose audio is what their supervision says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet

from local.lib.lhotse_corpus import write_sets
from local.lib.set_manifests import OTHER_CHANNEL
from local.lib.skipped import read_skipped, skipped_beside


def test_of_a_call_the_side_that_is_heard_is_the_side_that_speaks(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, (16000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "call.wav", sound, 16000, subtype="FLOAT")
    recording = Recording.from_file(tmp_path / "call.wav")
    said = [
        SupervisionSegment("left", "call", 0.0, 0.5, channel=0, text="one"),
        SupervisionSegment("right", "call", 0.25, 0.5, channel=1, text="two"),
        SupervisionSegment("both", "call", 0.5, 0.5, channel=[0, 1], text="three"),
    ]
    sets = {
        "train": {
            "recordings": RecordingSet.from_recordings([recording]),
            "supervisions": SupervisionSet.from_segments(said),
        }
    }
    for choice, ids in ((0, ["both", "left"]), (1, ["both", "right"])):
        out = tmp_path / str(choice)
        out.mkdir()
        write_sets("x", sets, out, 1, max_bad_share=0.0, channel=choice)
        cuts = list(CutSet.from_file(out / "x_cuts_train.jsonl.gz"))
        assert [cut.id for cut in cuts] == ids
        begin = int(cuts[1].start * 16000)
        np.testing.assert_array_equal(cuts[1].load_audio()[0], sound[begin : begin + 8000, choice])
        (left_out,) = read_skipped(skipped_beside(out / "x_cuts_train.jsonl.gz"))
        assert left_out.reason == OTHER_CHANNEL
    out = tmp_path / "mean"
    out.mkdir()
    write_sets("x", sets, out, 1, max_bad_share=0.0, channel="mean")
    cuts = list(CutSet.from_file(out / "x_cuts_train.jsonl.gz"))
    assert [cut.id for cut in cuts] == ["both", "left", "right"]
    np.testing.assert_allclose(cuts[1].load_audio()[0], sound[:8000].mean(axis=1), atol=1e-7)
