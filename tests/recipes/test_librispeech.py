"""recipes/librispeech/librispeech.py: the manifests of a corpus in LibriSpeech's layout."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from lhotse import RecordingSet, SupervisionSet
from preparation.small_librispeech import (
    ASSETS,
    transcript,
    write_chapter,
    write_part,
)
from preparation.steps import read, run_script

from local.lib.skipped import read_skipped
from recipes.librispeech.librispeech import corpus_folder, find_parts, prepare, read_part


def prepared(corpus: Path, out: Path, *parts: str) -> list[str]:
    return prepare(corpus, parts, out, num_jobs=1, max_bad_share=0.01)


def skipped(out: Path, part: str) -> dict[str, str]:
    lines = read_skipped(out / f"librispeech_cuts_{part}.skipped.tsv")
    return {s.name: s.reason for s in lines}


def test_the_original_layout_gives_its_utterances(tmp_path: Path) -> None:
    assert prepared(corpus_folder(ASSETS.parent), tmp_path) == ["test-clean"]
    cuts = read(tmp_path / "librispeech_cuts_test-clean.jsonl.gz")
    recordings = RecordingSet.from_file(tmp_path / "librispeech_recordings_test-clean.jsonl.gz")
    spoken = SupervisionSet.from_file(tmp_path / "librispeech_supervisions_test-clean.jsonl.gz")
    lines = [
        line
        for path in sorted((ASSETS / "test-clean").rglob("*.trans.txt"))
        for line in path.read_text().splitlines()
    ]
    assert [f"{cut.id} {cut.supervisions[0].text}" for cut in cuts] == lines
    assert [r.id for r in recordings] == [s.id for s in spoken] == [cut.id for cut in cuts]
    assert {s.speaker for s in spoken} == {"1089"}
    assert skipped(tmp_path, "test-clean") == {}


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3", ".opus", ".ogg"])
def test_lengths_are_exact_in_samples_whatever_the_format(tmp_path: Path, suffix: str) -> None:
    write_chapter(tmp_path / "c" / "dev-clean", "1", seconds=(0.31, 1.007, 3.3), suffix=suffix)
    prepared(tmp_path / "c", tmp_path / "out")
    cuts = read(tmp_path / "out/librispeech_cuts_dev-clean.jsonl.gz")
    assert len(cuts) == 3
    for cut in cuts:
        decoded, rate = soundfile.read(cut.recording.sources[0].source)
        assert (cut.num_samples, cut.sampling_rate) == (len(decoded), rate)
        assert cut.load_audio().shape == (1, len(decoded))


def test_jobs_change_nothing(tmp_path: Path) -> None:
    for speaker in ("1", "2"):
        write_chapter(tmp_path / "c" / "dev-clean", speaker, seconds=(0.2,) * 40)
    made = []
    for jobs in (1, 2):
        out = tmp_path / f"out{jobs}"
        prepare(tmp_path / "c", (), out, jobs, 0.01)
        made.append((out / "librispeech_cuts_dev-clean.jsonl.gz").read_bytes())
    assert made[0] == made[1]


def test_parts_are_those_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train-clean-5", "dev-clean-2", "mine"):
        write_chapter(tmp_path / name, "1")
    (tmp_path / "notes" / "a" / "b").mkdir(parents=True)
    assert find_parts(tmp_path) == ["dev-clean-2", "mine", "train-clean-5"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"skipped: {tmp_path / 'notes'}")
    assert "dev-clean-2, mine, train-clean-5" in printed[1]
    assert "not there" in printed[2] and "train-clean-100" in printed[2]
    assert find_parts(tmp_path, ["mine"]) == ["mine"]
    with pytest.raises(FileNotFoundError, match=r"has no dev-other; it has: dev-clean-2, mine"):
        find_parts(tmp_path, ["mine", "dev-other"])


@pytest.mark.parametrize(("folder", "message"), [("no", "not found"), (".", "holds no part")])
def test_a_folder_without_the_corpus_is_refused(tmp_path: Path, folder: str, message: str) -> None:
    options = ("--corpus-dir", tmp_path / folder, "--out-dir", tmp_path / "out")
    done = run_script("recipes/librispeech/librispeech.py", *options)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr


def lose_transcripts(chapter: Path) -> None:
    transcript(chapter).unlink()


def lose_audio(chapter: Path) -> None:
    (chapter / "9-1-0000.flac").unlink()


def lose_line(chapter: Path) -> None:
    lines = transcript(chapter).read_text().splitlines(keepends=True)
    transcript(chapter).write_text(lines[1])


def truncate(chapter: Path) -> None:
    path = chapter / "9-1-0000.flac"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncate_mp3(chapter: Path) -> None:
    path = chapter / "9-1-0000.mp3"
    samples, rate = soundfile.read(chapter / "9-1-0000.flac")
    soundfile.write(path, samples, rate)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (chapter / "9-1-0000.flac").unlink()


def empty(chapter: Path) -> None:
    (chapter / "9-1-0000.flac").write_bytes(b"")


def no_samples(chapter: Path) -> None:
    (chapter / "9-1-0000.flac").unlink()
    soundfile.write(chapter / "9-1-0000.wav", speech_of(0), 16000)


def few_samples(chapter: Path) -> None:
    soundfile.write(chapter / "9-1-0000.flac", speech_of(150), 16000)


def speech_of(samples: int) -> list[float]:
    return [0.1] * samples


def repeat_line(chapter: Path) -> None:
    lines = transcript(chapter).read_text().splitlines(keepends=True)
    transcript(chapter).write_text("".join([*lines, lines[0]]))


def second_file(chapter: Path) -> None:
    soundfile.write(chapter / "9-1-0000.wav", speech_of(16000), 16000)


def no_words(chapter: Path) -> None:
    transcript(chapter).write_text("9-1-0000\n9-1-0001 YES\n")


FAULTS: list[tuple[Callable[[Path], None], str, int]] = [
    (lose_transcripts, "no transcript file", 0),
    (lose_audio, "transcript without an audio file", 1),
    (lose_line, "audio without a line in the transcript file", 1),
    (truncate, "damaged audio", 1),
    (truncate_mp3, "truncated audio", 1),
    (empty, "empty audio file", 1),
    (no_samples, "too short", 1),
    (few_samples, "too short", 1),
    (repeat_line, "id occurs twice", 2),
    (second_file, "second audio file of an id", 2),
    (no_words, "transcript without words", 1),
]


@pytest.mark.parametrize(("fault", "reason", "left"), FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_what_is_broken_is_left_out_and_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fault: Callable[[Path], None],
    reason: str,
    left: int,
) -> None:
    part = tmp_path / "c" / "test-other"
    write_chapter(part, "8", seconds=(0.2,) * 3)
    fault(write_chapter(part, "9", seconds=(1.0, 0.2)))
    prepared(tmp_path / "c", tmp_path / "out")
    cuts = read(tmp_path / "out/librispeech_cuts_test-other.jsonl.gz")
    assert sum(cut.id.startswith("9-") for cut in cuts) == left
    assert len(cuts) == 3 + left
    assert set(skipped(tmp_path / "out", "test-other").values()) == {reason}
    printed = capsys.readouterr().out
    assert f"left out {max(2 - left, 1)}: {reason}" in printed and "9-1-000" in printed


def test_too_much_that_is_broken_is_an_error(tmp_path: Path) -> None:
    part = tmp_path / "c" / "test-other"
    lose_transcripts(write_chapter(part, "9"))
    truncate_me = write_chapter(part, "8")
    (truncate_me / "8-1-0000.flac").write_bytes(b"")
    with pytest.raises(ValueError, match=r"3 of 4 utterances.*--max-bad-share") as caught:
        prepared(tmp_path / "c", tmp_path / "out")
    for named in ("9-1.trans.txt", "8-1-0000", "left out 2: no transcript file"):
        assert named in str(caught.value)
    assert not list((tmp_path / "out").glob("*cuts*"))


def test_a_part_without_any_transcript_file_is_an_error(tmp_path: Path) -> None:
    lose_transcripts(write_chapter(tmp_path / "c" / "dev-clean", "9"))
    with pytest.raises(ValueError, match=r"dev-clean: 2 of 2 (.|\n)*no transcript file"):
        prepared(tmp_path / "c", tmp_path / "out")


def test_ids_and_text_come_from_the_transcript_file(tmp_path: Path) -> None:
    chapter = write_chapter(tmp_path / "dev-clean", "7")
    transcript(chapter).write_text("7-1-0001   TWO  BLANKS \n\n7-1-0000 ONE\n")
    part = read_part(tmp_path / "dev-clean")
    assert [(u.name, u.text) for u in part.utterances] == [
        ("7-1-0000", "ONE"),
        ("7-1-0001", "TWO BLANKS"),
    ]
    assert part.utterances[1].where.endswith("7-1.trans.txt:1")


MINI = {"84": ".flac", "174": ".flac", "1272": ".flac", "1462": ".flac", "2035": ".flac"}


def test_without_a_training_part_dev_clean_is_divided_by_speaker(tmp_path: Path) -> None:
    write_part(tmp_path / "c" / "dev-clean", {**MINI, "251": ".flac"})
    sets = prepared(tmp_path / "c", tmp_path / "out")
    assert sets == ["dev-clean", "mini-train", "mini-valid", "mini-test"]
    speakers = {
        name: {
            cut.supervisions[0].speaker
            for cut in read(tmp_path / f"out/librispeech_cuts_{name}.jsonl.gz")
        }
        for name in sets[1:]
    }
    assert speakers == {
        "mini-train": {"2035", "251"},
        "mini-valid": {"84", "174"},
        "mini-test": {"1272", "1462"},
    }


@pytest.mark.parametrize("speakers", [["84", "1272"], ["2035", "251"], ["84", "2035"]])
def test_no_mini_set_is_empty(tmp_path: Path, speakers: list[str]) -> None:
    write_part(tmp_path / "c" / "dev-clean", dict.fromkeys(speakers, ".flac"))
    assert prepared(tmp_path / "c", tmp_path / "out") == ["dev-clean"]


def test_with_a_training_part_there_are_no_mini_sets(tmp_path: Path) -> None:
    write_part(tmp_path / "c" / "dev-clean", MINI)
    write_chapter(tmp_path / "c" / "train-clean-5", "1")
    assert prepared(tmp_path / "c", tmp_path / "out") == ["dev-clean", "train-clean-5"]


def test_manifests_of_an_earlier_preparation_are_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("dev-other", "test-other"):
        write_chapter(tmp_path / "c" / name, "1")
    prepared(tmp_path / "c", tmp_path / "out")
    capsys.readouterr()
    prepared(tmp_path / "c", tmp_path / "out", "dev-other")
    printed = capsys.readouterr().out
    assert "librispeech_cuts_test-other.jsonl.gz: left from an earlier preparation" in printed
    assert "cuts_dev-other" not in printed
