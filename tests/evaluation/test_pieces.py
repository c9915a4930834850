"""A long recording is the sum of its pieces, cut in pauses, with the times of the whole."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from trained_digits import CHECKPOINT

from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.context import Context
from zipformer.evaluation import transcribe
from zipformer.evaluation.pieces import PieceLengths, pieces, quietest
from zipformer.evaluation.transcribe import Transcriber, append_later
from zipformer.search.words import Word, text_of

RATE = 16000
SPOKEN = sorted((CHECKPOINT.parent / "recordings").glob("*.flac"))


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(CHECKPOINT)


@pytest.fixture(scope="module")
def speech() -> Tensor:
    """Spoken digits with pauses of half a second between the recordings."""
    pause = np.zeros(RATE // 2, np.float32)
    parts = [p for f in SPOKEN for p in (soundfile.read(f, dtype="float32")[0], pause)]
    return torch.from_numpy(np.concatenate(parts))


def test_pieces_cover_all_within_their_lengths_and_are_cut_in_pauses() -> None:
    samples = torch.randn(40 * RATE, generator=torch.Generator().manual_seed(0))
    pauses = [3.1, 9.0, 14.6, 22.0, 30.5]
    for pause in pauses:
        samples[int(pause * RATE) : int((pause + 0.4) * RATE)] *= 0.01
    found = list(pieces(samples, RATE, PieceLengths(5.0, 10.0)))
    assert found[0][0] == 0 and found[-1][1] == len(samples)
    assert all(a[1] == b[0] for a, b in zip(found[:-1], found[1:], strict=True))
    for start, end in found[:-1]:
        assert 5.0 <= (end - start) / RATE <= 10.0
        assert any(pause <= end / RATE <= pause + 0.4 for pause in pauses)


@pytest.mark.parametrize("count", [0, 1, 100, 4799, 4800, 4801, 16000])
def test_there_is_a_quietest_place_in_anything(count: int) -> None:
    assert 0 <= quietest(torch.zeros(count), RATE) <= count
    assert list(pieces(torch.zeros(count), RATE, PieceLengths())) == [(0, count)]


def test_lengths_must_be_a_range() -> None:
    with pytest.raises(ValueError, match="give a range"):
        PieceLengths(5.0, 5.0)


def test_the_words_of_a_recording_are_those_of_its_pieces_with_later_times(
    loaded: LoadedModel, speech: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = PieceLengths(2.0, 4.0)
    monkeypatch.setattr(transcribe, "LONG_SECONDS", 4.0)
    monkeypatch.setattr(transcribe, "PIECES", lengths)
    transcriber = Transcriber(loaded, Context.full())
    heard = transcriber.words(speech)
    expected: list[Word] = []
    ends = list(pieces(speech, RATE, lengths))
    assert len(ends) >= 3
    for start, end in ends:
        for word in transcriber.words(speech[start:end]):
            begin, stop = (round(t + start / RATE, 3) for t in (word.start, word.end))
            expected.append(replace(word, start=begin, end=stop))
    assert heard == expected
    times = [word.start for word in heard]
    assert times == sorted(times)
    said = " ".join(f.with_suffix(".txt").read_text().strip() for f in SPOKEN)
    assert text_of(heard) == " ".join(said.split())


def test_pieces_of_chinese_are_joined_without_blanks() -> None:
    def words(text: str) -> list[Word]:
        return [Word(c, float(i), i + 0.5, 1.0, spaced=i == 0) for i, c in enumerate(text)]

    found: list[Word] = []
    append_later(found, words("你好"), 0.0)
    append_later(found, words("吗"), 10.0)
    append_later(found, [Word("ok", 1.0, 2.0, 1.0)], 20.0)
    assert text_of(found) == "你好吗 ok"
    assert [w.start for w in found] == [0.0, 1.0, 10.0, 21.0]


MEASURE = """
import resource, sys
from zipformer_cli import run_verb
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run_verb("transcribe", sys.argv[1:], "transcribe.py")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.long
def test_half_an_hour_takes_bounded_memory(speech: Tensor, tmp_path: Path) -> None:
    """At full context it took more than 14 GB for five minutes."""
    sound = speech.numpy()
    whole = np.tile(sound, -(-30 * 60 * RATE // len(sound)))
    half_hour, short = tmp_path / "half_hour.flac", tmp_path / "short.flac"
    soundfile.write(half_hour, whole, RATE)
    soundfile.write(short, whole[: 50 * RATE], RATE)
    peaks = []
    for path in (short, half_hour):
        command = [sys.executable, "-c", MEASURE, str(CHECKPOINT), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=580)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stderr.split()[-1]) / 1024)
        words = len(done.stdout.split("\t")[1].split("\n")[0].split())
    assert words > 30 * 60 / 5
    # The samples (115 MB), what is read of them and their words; not attention over all of it.
    assert peaks[1] < peaks[0] + 500, peaks
