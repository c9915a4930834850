"""recipes/own_data/tsv_corpus.py: a table of audio files and texts becomes manifests."""

from collections import Counter
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from preparation.small_librispeech import write_chapter
from preparation.steps import read, run_script

from local.compute_fbank import Settings, compute
from local.lib.audio_files import Utterance
from local.lib.skipped import read_skipped
from recipes.own_data.tsv_corpus import SETS, hold_out, read_table


def table(folder: Path, *lines: str, header: str = "audio\ttext\tspeaker") -> Path:
    path = folder / "corpus.tsv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def prepared(tsv: Path, out: Path, *options: str) -> CompletedProcess[str]:
    command = ["recipes/own_data/tsv_corpus.py", "--tsv", tsv, "--out-dir", out]
    return run_script(*command, *options)


def test_columns_go_by_their_names(tmp_path: Path) -> None:
    path = table(tmp_path, "hello  You\tx\tb/one.wav\tann", header="text\tmood\tpath\tspeaker")
    (utterance,) = read_table(path, tmp_path, "upper").utterances
    assert utterance == Utterance("b-one", tmp_path / "b/one.wav", "HELLO YOU", "ann", f"{path}:2")


def test_an_id_and_a_split_may_be_given(tmp_path: Path) -> None:
    path = table(
        *(tmp_path, "a.wav\tyes\tu1\ttrain", "b.wav\tno\tu2\tdev", "c.wav\tno\tu3\ttest"),
        header="audio\ttext\tid\tsplit",
    )
    found = read_table(path, tmp_path)
    assert found.sets == {"u1": "train", "u2": "valid", "u3": "test"}
    assert [u.speaker for u in found.utterances] == [None] * 3


def test_bad_lines_are_named_by_their_numbers(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "a.wav\tyes\tann\ttrain",
        "b.wav\tyes",
        "",
        "\tyes\tann\ttrain",
        "c.wav\t \tann\ttrain",
        "d.wav\tyes\tann\teval",
        "a.wav\tyes\tann\ttrain",
        "e.wav\tline\u2028separator\tann\ttrain",
        header="audio\ttext\tspeaker\tsplit",
    )
    found = read_table(path, tmp_path)
    assert [u.name for u in found.utterances] == ["a", "e"]
    assert [(s.source.split(":")[1], s.reason, s.detail) for s in found.skipped] == [
        ("3", "wrong number of columns", "2, expected 4"),
        ("5", "no audio path", ""),
        ("6", "no text", ""),
        ("7", "unknown split", "'eval', expected train, valid, test"),
        ("8", "id occurs twice", ""),
    ]


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"corpus\.tsv:1: .*no audio and no text in 'a,b'"):
        read_table(table(tmp_path, header="a,b"), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no\.tsv not found"):
        read_table(tmp_path / "no.tsv", tmp_path)
    (tmp_path / "latin.tsv").write_bytes("audio\ttext\na.wav\tcafé\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.tsv is no text in UTF-8"):
        read_table(tmp_path / "latin.tsv", tmp_path)


utterances = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz")), min_size=30, max_size=60
)


@given(utterances, st.sampled_from(["speaker", "text"]), st.integers(0, 99))
def test_no_speaker_and_no_text_is_in_two_sets(
    drawn: list[tuple[str, str]], by: str, seed: int
) -> None:
    some = [Utterance(str(i), Path("a"), text, who) for i, (who, text) in enumerate(drawn)]
    keys = {u.name: u.speaker if by == "speaker" else u.text for u in some}
    if len(set(keys.values())) < 3:
        with pytest.raises(ValueError, match=f"different {by}s"):
            hold_out(some, 0.1, by, seed)
        return
    sets = hold_out(some, 0.1, by, seed)
    assert sets.keys() == keys.keys()
    held = {name: {keys[u] for u in sets if sets[u] == name} for name in SETS}
    assert all(held.values())
    assert sum(map(len, held.values())) == len(set(keys.values()))
    assert sets == hold_out(some, 0.1, by, seed)


def test_held_out_sets_have_about_the_share_asked_for() -> None:
    some = [Utterance(str(i), Path("a"), f"text {i // 2}", "ann") for i in range(1000)]
    counts = Counter(hold_out(some, 0.1, "text", 1).values())
    assert counts == {"train": 800, "valid": 100, "test": 100}
    one = [Utterance(str(i), Path("a"), "x", "b" if i < 900 else str(i // 10)) for i in range(1000)]
    assert Counter(hold_out(one, 0.05, "speaker", 1).values())["train"] == 900


def test_a_corpus_becomes_manifests_and_its_faults_are_named(tmp_path: Path) -> None:
    chapter = write_chapter(tmp_path, "1", seconds=(0.3,) * 20)
    lines = [f"1/1/1-1-{i:04d}.flac\ttext {i}\tann" for i in range(22)]
    (chapter / "1-1-0003.flac").write_bytes(b"fLaC")
    done = prepared(table(tmp_path, *lines), tmp_path / "out", "--held-out", "0.2")
    assert done.returncode == 0, done.stderr
    assert "1 speakers: the sets are held apart by text" in done.stdout
    assert "left out 2: no audio file: 1-1-1-1-0020" in done.stdout
    assert "corpus.tsv:22" in done.stdout
    sizes = [len(read(tmp_path / f"out/own_cuts_{name}.jsonl.gz")) for name in SETS]
    assert sizes == [11, 4, 4]
    skipped = read_skipped(tmp_path / "out/own_cuts.skipped.tsv")
    assert {s.source.rsplit(":")[-1] for s in skipped} == {"5", "22", "23"}


def test_mostly_bad_lines_are_an_error(tmp_path: Path) -> None:
    done = prepared(table(tmp_path, "no.wav\tyes\tann"), tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "corpus.tsv:2" in done.stderr


def test_a_set_without_utterances_is_an_error(tmp_path: Path) -> None:
    write_chapter(tmp_path, "1", seconds=(0.3,))
    path = table(tmp_path, "1/1/1-1-0000.flac\tyes\ttrain", header="audio\ttext\tsplit")
    done = prepared(path, tmp_path / "out")
    assert done.returncode == 1 and "no utterance for the set valid" in done.stderr


def test_of_two_channels_the_one_asked_for_is_heard(tmp_path: Path) -> None:
    left = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    for index in range(3):
        soundfile.write(tmp_path / f"{index}.wav", np.stack([0 * left, left], axis=1), 8000)
    path = table(tmp_path, *(f"{index}.wav\ttext {index}\tann" for index in range(3)))
    refused = prepared(path, tmp_path / "out")
    assert refused.returncode == 1 and "--channel N" in refused.stderr
    done = prepared(path, tmp_path / "out", "--channel", "1")
    assert done.returncode == 0, done.stderr
    manifest = tmp_path / "out" / "own_cuts_train.jsonl.gz"
    (cut,) = read(manifest)
    np.testing.assert_allclose(cut.load_audio()[0], left, atol=2**-15)
    compute(Settings(manifest, tmp_path / "f.jsonl.gz", tmp_path / "feats"))
    (cut,) = read(tmp_path / "f.jsonl.gz")
    assert cut.load_features().shape == (100, 80)


def test_quotes_of_other_programs_are_taken_away_and_those_of_the_text_stay(tmp_path: Path) -> None:
    table = tmp_path / "corpus.tsv"
    table.write_text(
        '"audio"\t"text"\n"a.wav"\t"he said ""no"" twice"\nb.wav\t"hello" she said "bye"\n'
    )
    found = read_table(table, tmp_path)
    assert [(u.audio.name, u.text) for u in found.utterances] == [
        ("a.wav", 'he said "no" twice'),
        ("b.wav", '"hello" she said "bye"'),
    ]
    assert found.skipped == []


def test_files_in_formats_that_are_not_read_are_named_as_what_they_are(tmp_path: Path) -> None:
    contents = {"m4a": b"\0\0\0 ftypM4A ", "raw": b"\0\1" * 9000, "wav": b"\x1aE\xdf\xa3\x9f"}
    lines = [f"foreign.{suffix}\tone\tann" for suffix in contents]
    for suffix, content in contents.items():
        (tmp_path / f"foreign.{suffix}").write_bytes(content)
    for index in range(4):
        lines.append(f"{index}.sph\ttext {index}\tann")
        soundfile.write(tmp_path / f"{index}.sph", np.full(8000, 0.1), 16000, format="NIST")
    done = prepared(table(tmp_path, *lines), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for kind in ("MP4 or M4A", "audio without a header", "WebM or Matroska"):
        assert f"left out 1: {kind}, which is not read: convert it, as with ffmpeg" in done.stdout


def test_files_whose_paths_give_one_name_are_told_apart(tmp_path: Path) -> None:
    files = ("a/b.wav", "a-b.wav", "a/b.flac", "a/b.wav")
    found = read_table(table(tmp_path, *(f"{name}\tone\tann" for name in files)), tmp_path)
    assert [u.name for u in found.utterances] == ["a-b", "a-b.wav", "a/b.flac"]
    assert [s.reason for s in found.skipped] == ["id occurs twice"]
