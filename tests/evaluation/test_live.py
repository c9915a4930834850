"""A test set heard by live streams gives the words of the same set decoded at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet
from tiny_run import tiny_run, write_cuts

from zipformer.checkpoint.loading import LoadedModel
from zipformer.context import Context
from zipformer.data.manifests import open_cuts
from zipformer.evaluation.evaluate import evaluate
from zipformer.evaluation.live import decode_live
from zipformer.streaming import Recognizer

TEXTS = ["one two three", "seven", "four four five nine", "two", "six"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cuts(tmp_path_factory.mktemp("data"), "clean", TEXTS)


@pytest.mark.parametrize("at_once", [1, 2, 16])
def test_how_many_streams_run_at_once_changes_nothing(
    loaded: LoadedModel, cuts: Path, at_once: int, tmp_path: Path
) -> None:
    recognizer = Recognizer.of(loaded, Context(32, 128, 64))
    heard = {h.cut.id: h for h in decode_live(recognizer, open_cuts(cuts), at_once)}
    result = evaluate(loaded, cuts, "clean", recognizer.context, decode_dir=tmp_path)
    lines = (tmp_path / result.folder / "recogs.txt").read_text().splitlines()[1::2]
    assert lines == [f"{name}:\thyp={heard[name].result.text.split()}" for name in sorted(heard)]
    assert len(heard) == 5 and any(h.result.text for h in heard.values())
    for each in heard.values():
        assert each.result.seconds == pytest.approx(each.cut.duration)


def test_silence_in_place_of_an_end_is_heard_and_not_counted(
    loaded: LoadedModel, cuts: Path, tmp_path: Path
) -> None:
    recognizer = Recognizer.of(loaded, Context(32, 128, 64))
    silence = np.zeros(160 * recognizer.step_frames, np.float32)
    wanted = {}
    for cut in open_cuts(cuts):
        stream = recognizer.open()
        stream.push(np.concatenate([cut.load_audio()[0], silence]))
        wanted[cut.id] = stream.text.split()
    results = {
        mode: evaluate(loaded, cuts, "clean", recognizer.context, mode, decode_dir=tmp_path)
        for mode in ("stream", "padded")
    }
    lines = (tmp_path / results["padded"].folder / "recogs.txt").read_text().splitlines()[1::2]
    assert lines == [f"{name}:\thyp={wanted[name]}" for name in sorted(wanted)]
    assert results["padded"].audio_seconds == results["stream"].audio_seconds
    assert results["padded"].streamable


def test_a_cut_without_audio_is_named(loaded: LoadedModel, cuts: Path) -> None:
    cut = next(iter(open_cuts(cuts)))
    cut.recording, cut.features = None, object()
    with pytest.raises(ValueError, match="cut clean-0 has features but no recording"):
        list(decode_live(Recognizer.of(loaded, Context(32, 128)), [cut]))


def test_audio_of_another_rate_is_named(loaded: LoadedModel, cuts: Path) -> None:
    other = CutSet.from_cuts(open_cuts(cuts)).resample(8000)
    with pytest.raises(ValueError, match="clean-0.*8000"):
        list(decode_live(Recognizer.of(loaded, Context(32, 128)), other))


def test_audio_that_is_gone_is_named(loaded: LoadedModel, tmp_path: Path) -> None:
    manifest = write_cuts(tmp_path, "lost", ["one"])
    (tmp_path / "lost-0.wav").unlink()
    with pytest.raises(ValueError, match=r"cut lost-0: .*lost-0\.wav cannot be read"):
        list(decode_live(Recognizer.of(loaded, Context(32, 128)), open_cuts(manifest)))
