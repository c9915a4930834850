"""recipes/digits/make_strings.py and segments.py: single recorded words become strings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.digits.make_strings import Style, build_strings, deal
from recipes.digits.segments import Segment, load_word, read_table, scan_folder


@pytest.fixture
def words(tmp_path: Path) -> list[Segment]:
    """Two speakers, two words, three takes: each speaker is one file of 8 kHz."""
    rng = np.random.default_rng(0)
    lines = ["speaker\tdigit\ttake\tstart_sample\tnum_samples"]
    for speaker in ("ann", "bob"):
        samples = []
        for index in range(6):
            lines.append(f"{speaker}\t{index % 2}\t{index // 2}\t{index * 4000}\t4000")
            samples.append(0.1 * rng.standard_normal(4000))
        soundfile.write(tmp_path / f"{speaker}.flac", np.concatenate(samples), 8000)
    (tmp_path / "segments.tsv").write_text("\n".join(lines) + "\n")
    return read_table(tmp_path / "segments.tsv", ["zero", "one"])


def test_a_table_and_a_folder_of_files_hold_the_same_words(
    words: list[Segment], tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for segment in words:
        samples, rate = soundfile.read(segment.audio, start=segment.start, frames=segment.length)
        number = {"zero": 0, "one": 1}[segment.word]
        soundfile.write(folder / f"{number}_{segment.speaker}_{segment.take}.wav", samples, rate)
    (folder / "notes.txt").write_text("no recording")
    files = scan_folder(folder, "{digit}_{speaker}_{take}.wav", ["zero", "one"])

    def key(segment: Segment) -> tuple[str, str, int]:
        return segment.speaker, segment.word, segment.take

    for a, b in zip(sorted(words, key=key), sorted(files, key=key), strict=True):
        assert key(a) == key(b)
        np.testing.assert_array_equal(load_word(a, 16000), load_word(b, 16000))


def test_every_recording_is_dealt_once_before_any_is_dealt_again(words: list[Segment]) -> None:
    dealer = deal(words, np.random.default_rng(0))
    rounds = [[next(dealer) for _ in words] for _ in range(3)]
    for dealt in rounds:
        assert sorted(map(str, dealt)) == sorted(map(str, words))
    assert rounds[0] != rounds[1]


def test_strings_hold_their_words_at_the_times_of_the_alignment(
    words: list[Segment], tmp_path: Path
) -> None:
    style = Style(words=(2, 4), noise_db=(60.0, 60.0))
    cuts = list(build_strings(words, 6, tmp_path / "out", "x", style, seed=1))
    assert {cut.supervisions[0].speaker for cut in cuts} == {"ann", "bob"}
    for cut in cuts:
        samples = cut.load_audio()[0]
        (supervision,) = cut.supervisions
        alignment = supervision.alignment["word"]
        assert supervision.text == " ".join(item.symbol for item in alignment)
        assert 2 <= len(alignment) <= 4
        assert cut.sampling_rate == 16000
        inside = np.zeros(len(samples), dtype=bool)
        for item, take in zip(alignment, cut.custom["takes"], strict=True):
            start = round(item.start * 16000)
            source = next(
                s
                for s in words
                if (s.speaker, s.word, s.take) == (supervision.speaker, item.symbol, take)
            )
            word = load_word(source, 16000)
            inside[start : start + len(word)] = True
            heard = samples[start : start + len(word)]
            assert np.corrcoef(word, heard)[0, 1] > 0.999
        pauses = np.diff(np.flatnonzero(np.diff(inside.astype(int))))[1::2] / 16000
        assert (pauses > 0.049).all() and (pauses < 0.501).all()
        loudness = 20 * np.log10(samples[inside].std() / samples[~inside].std())
        assert loudness == pytest.approx(60, abs=2)


def test_strings_depend_on_seed_and_prefix_alone(words: list[Segment], tmp_path: Path) -> None:
    def texts(folder: str, prefix: str, seed: int) -> list[str]:
        built = build_strings(words, 4, tmp_path / folder, prefix, Style(), seed)
        return [f"{c.supervisions[0].text} {c.duration} {c.load_audio().sum()}" for c in built]

    first = texts("a", "x", 1)
    np.random.seed(0)
    assert texts("b", "x", 1) == first
    assert texts("c", "x", 2) != first
    assert texts("d", "y", 1) != first


def test_a_table_without_a_column_names_it(tmp_path: Path) -> None:
    path = tmp_path / "segments.tsv"
    path.write_text("speaker\tdigit\nann\t0\n")
    with pytest.raises(ValueError, match=r"segments\.tsv: has no column 'take'"):
        read_table(path, ["zero"])


def test_a_folder_without_matching_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no files named like"):
        scan_folder(tmp_path, "{digit}_{speaker}_{take}.wav", ["zero"])
