"""``transcribe`` goes on after files that cannot be heard, and overwrites nothing."""

from __future__ import annotations

import json
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands.calling import Caller
from trained_digits import CHECKPOINT

from zipformer.commands import transcribe
from zipformer.commands.transcribe import Outcome, parse_channel, subtitle_paths
from zipformer.evaluation.transcribe import Transcript

SPOKEN = sorted((CHECKPOINT.parent / "recordings").glob("*.flac"))


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    """Two recordings, one on each channel."""
    sounds = [soundfile.read(path)[0] for path in SPOKEN[:2]]
    length = max(map(len, sounds))
    padded = [np.pad(sound, (0, length - len(sound))) for sound in sounds]
    soundfile.write(tmp_path / "stereo.wav", np.stack(padded, 1), 16000)
    return tmp_path / "stereo.wav"


def texts(stdout: str) -> list[str]:
    return [json.loads(line)["text"] for line in stdout.splitlines()]


def test_each_channel_is_heard_apart(call: Caller, tmp_path: Path, stereo: Path) -> None:
    alone = call("transcribe", CHECKPOINT, *SPOKEN[:2], "--json", cwd=tmp_path)
    done = call("transcribe", CHECKPOINT, stereo, "--channel", "each", "--json", cwd=tmp_path)
    assert texts(done.stdout) == texts(alone.stdout)
    assert [json.loads(line)["channel"] for line in done.stdout.splitlines()] == [0, 1]
    one = call("transcribe", CHECKPOINT, stereo, "--channel", "1", cwd=tmp_path)
    assert one.stdout.startswith(f"{stereo} [channel 1]\t{texts(alone.stdout)[1]}\n")
    assert "channel" not in json.loads(alone.stdout.splitlines()[0])


def test_files_that_cannot_be_heard_are_named_and_the_others_heard(
    call: Caller, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    files = [tmp_path / "bad.wav", SPOKEN[0], tmp_path / "gone.wav"]
    done = call("transcribe", CHECKPOINT, *files, "--json", cwd=tmp_path)
    assert done.status == 1 and len(texts(done.stdout)) == 1
    assert "bad.wav: cannot be read" in done.stderr and "gone.wav: there is no" in done.stderr
    assert "2 of 3 files could not be transcribed" in done.stderr


@pytest.mark.slow
def test_several_files_at_a_time_give_the_same_in_the_same_order(
    call: Caller, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    command = ["transcribe", CHECKPOINT, SPOKEN[0], tmp_path / "bad.wav", *SPOKEN[1:], "--json"]
    one = call(*map(str, command), cwd=tmp_path)
    two = call(*map(str, command), "--num-jobs", "2", cwd=tmp_path)
    assert two.stdout == one.stdout and two.status == one.status == 1


def test_subtitles_overwrite_no_others(call: Caller, tmp_path: Path) -> None:
    sound, rate = soundfile.read(SPOKEN[0])
    names = ["a.wav", "a.flac", "b.wav"]
    for name in names:
        soundfile.write(tmp_path / name, sound, rate)
    done = call("transcribe", CHECKPOINT, *names, "--srt", cwd=tmp_path)
    assert done.status == 0
    written = sorted(path.name for path in tmp_path.glob("*.srt"))
    assert written == ["a.flac.srt", "a.wav.srt", "b.srt"]
    assert subtitle_paths([Path("x/a.wav"), Path("y/a.wav")])[Path("y/a.wav")] == Path("y/a.srt")


@pytest.mark.parametrize(
    "names",
    [
        ["a.wav", "a.mp3", "a.wav.flac"],
        ["a.wav", "a.0.wav", "a.1.flac"],
        ["a.wav", "a.mp3", "a.wav.1.flac"],
        ["a.wav", "a.mp3", "a.wav.flac", "a.wav.0.ogg", "a.0.wav"],
    ],
)
def test_no_two_files_have_the_same_subtitles_nor_do_their_channels(names: list[str]) -> None:
    paths = subtitle_paths([Path(name) for name in names]).values()
    of_channels = [path.with_suffix(f".{number}.srt") for path in paths for number in (0, 1)]
    assert len({*paths, *of_channels}) == 3 * len(names)


def test_what_is_done_stays_when_a_process_is_ended_from_outside(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcribe, "ProcessPoolExecutor", KilledPool)
    files = ["a.wav", "b.wav", "c.wav"]
    done = call("transcribe", CHECKPOINT, *files, "--json", "--num-jobs", "2", cwd=tmp_path)
    assert done.status == 1 and texts(done.stdout) == ["of a.wav"]
    assert all(done.stderr.count(f"error: {name}: not heard") == 1 for name in files[1:])
    assert "2 of 3 files could not be transcribed" in done.stderr


class KilledPool:
    """Processes that are killed after one file."""

    def __init__(self, *_: object, **__: object) -> None:
        self.ended = False

    def submit(self, _: object, path: Path, __: object) -> Future[Outcome]:
        future = Future[Outcome]()
        if self.ended:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result([Transcript(str(path), 1.0, "full", f"of {path}", [])])
        self.ended = True
        return future

    def shutdown(self, **_: object) -> None:
        """There is nothing to end."""


def test_channels_are_numbers_or_words(call: Caller, tmp_path: Path) -> None:
    assert [parse_channel(text) for text in ("0", "12", "each", "mean")] == [0, 12, "each", "mean"]
    done = call("transcribe", CHECKPOINT, "a.wav", "--channel", "left", cwd=tmp_path)
    assert done.status == 2 and "'left': write the number of a channel" in done.stderr
