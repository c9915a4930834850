"""The steps of data preparation that the recipes share."""

import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile
from data.small_corpus import WORDS, make_cuts, make_tokenizer, write_cut, write_manifest
from lhotse import CutSet, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.cut import MonoCut

from local.babble import Talkers, add_babble, mix, noise
from local.compute_fbank import Settings, compute, cuts_of_recordings
from local.make_strings import (
    Segment,
    Style,
    build_strings,
    deal,
    load_word,
    read_table,
    scan_folder,
)
from local.train_bpe import train_bpe
from local.validate_manifest import table, validate
from zipformer.config import DataConfig
from zipformer.data.features import extract
from zipformer.data.tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, cwd=cwd
    )


def read(path: Path) -> list[MonoCut]:
    return list(CutSet.from_file(path))


# make_strings


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


def test_strings_hang_on_seed_and_prefix_alone(words: list[Segment], tmp_path: Path) -> None:
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


# babble


@pytest.fixture
def talking(tmp_path: Path) -> CutSet:
    cuts = make_cuts(tmp_path / "talk", [1.0, 0.7, 1.5, 2.0, 0.9, 1.2])
    for cut, speaker in zip(cuts, "abcabc", strict=True):
        cut.supervisions[0].speaker = speaker
    return CutSet.from_cuts(cuts)


def test_babble_lies_under_the_speech_at_the_drawn_ratio(talking: CutSet, tmp_path: Path) -> None:
    mixed = list(mix(talking, Talkers(talking), tmp_path / "out", (2, 2), (5.0, 15.0), seed=1))
    ratios = []
    for clean, noisy in zip(talking, mixed, strict=True):
        assert noisy.duration == clean.duration
        assert noisy.supervisions[0].text == clean.supervisions[0].text
        assert clean.supervisions[0].speaker not in noisy.custom["babble"]
        assert len(set(noisy.custom["babble"])) == 2
        speech = clean.load_audio()
        babble = noisy.load_audio() - speech
        ratio = 20 * np.log10(speech.std() / babble.std())
        assert ratio == pytest.approx(noisy.custom["snr"], abs=0.2)
        ratios.append(ratio)
    assert 5 <= min(ratios) < max(ratios) <= 15


def test_a_loud_mixture_is_scaled_as_a_whole() -> None:
    speech, babble = np.full(8, 0.9), np.array([1.0, -1.0] * 4)
    mixed = add_babble(speech, babble, 0.0)
    assert np.abs(mixed).max() == pytest.approx(0.99)
    np.testing.assert_allclose(mixed / mixed[0], (speech + 0.9 * babble) / 1.8)


def test_what_babble_a_cut_gets_does_not_hang_on_the_others(
    talking: CutSet, tmp_path: Path
) -> None:
    talkers = Talkers(talking)
    whole = list(mix(talking, talkers, tmp_path / "a", (1, 2), (0.0, 9.0), seed=1))
    last = list(talking)[-1:]
    (alone,) = mix(CutSet.from_cuts(last), talkers, tmp_path / "b", (1, 2), (0.0, 9.0), seed=1)
    np.testing.assert_array_equal(alone.load_audio(), whole[-1].load_audio())


def test_babble_alone_lasts_as_long_as_asked(talking: CutSet, tmp_path: Path) -> None:
    cuts = list(noise(Talkers(talking), 4, 5.0, tmp_path / "out", (2, 3), "n", seed=1))
    assert [cut.duration for cut in cuts] == [5.0] * 4
    assert len({float(cut.load_audio().sum()) for cut in cuts}) == 4
    assert all(cut.load_audio()[0, -1600:].std() > 0.01 for cut in cuts)
    assert all(not cut.supervisions for cut in cuts)


def test_babble_needs_enough_other_speakers(talking: CutSet) -> None:
    with pytest.raises(ValueError, match="pool has 2 others"):
        Talkers(talking).babble(100, 3, "a", np.random.default_rng(0))


# compute_fbank


def settings(manifest: Path, **changes: object) -> Settings:
    folder = manifest.parent / "fbank"
    return Settings(manifest, folder / manifest.name, folder / "feats", **changes)  # type: ignore[arg-type]


def test_stored_features_are_those_of_the_audio(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0, 0.52, 2.001])
    wanted = settings(write_manifest(tmp_path / "m.jsonl.gz", cuts))
    assert compute(wanted) == []
    for cut, stored in zip(cuts, read(wanted.out), strict=True):
        features = extract(cut.load_audio(), 16000).numpy()
        np.testing.assert_array_equal(stored.load_features(), features)
        assert stored.num_frames == len(features)
        assert stored.supervisions[0].text == cut.supervisions[0].text


def test_features_of_a_part_of_a_recording_are_those_of_the_part(tmp_path: Path) -> None:
    (cut,) = make_cuts(tmp_path / "a", [3.0])
    part = cut.truncate(offset=1.0, duration=0.5, preserve_id=True)
    wanted = settings(write_manifest(tmp_path / "m.jsonl.gz", [part]))
    compute(wanted)
    (stored,) = read(wanted.out)
    np.testing.assert_array_equal(stored.load_features(), extract(part.load_audio()).numpy())


def test_the_number_of_jobs_changes_neither_order_nor_values(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [0.5] * 5))
    outcomes = []
    for jobs in (1, 2, 9):
        wanted = settings(manifest)
        compute(wanted, num_jobs=jobs)
        outcomes.append([(c.id, float(c.load_features().sum())) for c in read(wanted.out)])
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert not list(wanted.out.parent.glob("*part*"))


def test_speed_copies_last_accordingly(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [1.8]))
    wanted = settings(manifest, speed_factors=(0.9, 1.0, 1.2))
    compute(wanted)
    cuts = read(wanted.out)
    assert [cut.num_frames for cut in cuts] == [200, 180, 150]
    assert len({cut.id for cut in cuts}) == 3
    assert [len(cut.load_features()) for cut in cuts] == [200, 180, 150]


def test_other_sample_rates_are_resampled(tmp_path: Path) -> None:
    time = np.arange(8000) / 8000
    tone = (0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    wanted = settings(
        write_manifest(tmp_path / "m.jsonl.gz", [write_cut(tmp_path, "tone", tone, "one", 8000)])
    )
    compute(wanted)
    (stored,) = read(wanted.out)
    assert stored.sampling_rate == 16000
    time = np.arange(16000) / 16000
    expected = extract((0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)).numpy()
    assert stored.load_features()[50].argmax() == expected[50].argmax()


def test_a_seeded_shuffle_keeps_every_cut(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path / "a", [0.1] * 12))
    wanted = settings(manifest)
    orders = []
    for seed in (None, 1, 1, 2):
        compute(wanted, shuffle_seed=seed)
        orders.append([cut.id for cut in read(wanted.out)])
    assert orders[1] == orders[2] != orders[3]
    assert all(sorted(order) == orders[0] for order in orders)


def damaged(folder: Path) -> Path:
    """Ten cuts: one holds no audio, one is missing, one is empty, one is not finite."""
    cuts = make_cuts(folder / "a", [0.5] * 7)
    Path(cuts[1].recording.sources[0].source).write_bytes(b"fLaC?")
    Path(cuts[4].recording.sources[0].source).unlink()
    cuts.append(write_cut(folder, "empty", np.zeros(10, dtype=np.float32), "one"))
    cuts.append(write_cut(folder, "nan", np.full(8000, np.nan, dtype=np.float32), "one"))
    return write_manifest(folder / "m.jsonl.gz", cuts)


@pytest.mark.parametrize("jobs", [1, 2])
def test_damaged_audio_is_skipped_and_counted(tmp_path: Path, jobs: int) -> None:
    wanted = settings(damaged(tmp_path))
    skipped = compute(wanted, num_jobs=jobs, max_bad_share=0.5)
    reasons = {s.cut_id: s.reason.split(" (")[0] for s in skipped}
    assert reasons == {
        "cut001": "unreadable",
        "cut004": "unreadable",
        "empty": "10 samples are too short",
        "nan": "samples that are not finite numbers",
    }
    assert [cut.id for cut in read(wanted.out)] == [
        "cut000",
        "cut002",
        "cut003",
        "cut005",
        "cut006",
    ]


def test_too_much_damaged_audio_is_an_error_that_names_files(tmp_path: Path) -> None:
    wanted = settings(damaged(tmp_path))
    with pytest.raises(ValueError, match=r"4 of 9 cuts.*--max-bad-share.*cut001.*cut001\.wav"):
        compute(wanted, max_bad_share=0.1)
    assert list(wanted.out.parent.glob("*.jsonl.gz")) == []


def test_recordings_and_supervisions_become_one_cut_per_utterance(tmp_path: Path) -> None:
    (cut,) = make_cuts(tmp_path / "a", [3.0])
    RecordingSet.from_recordings([cut.recording]).to_file(tmp_path / "x_recordings.jsonl.gz")
    spans = [(0.0, 1.0, "one"), (1.5, 0.5, "two")]
    SupervisionSet.from_segments(
        SupervisionSegment(id=text, recording_id=cut.id, start=start, duration=length, text=text)
        for start, length, text in spans
    ).to_file(tmp_path / "x_supervisions.jsonl.gz")
    path = cuts_of_recordings(
        tmp_path / "x_recordings.jsonl.gz", tmp_path / "x_supervisions.jsonl.gz", tmp_path / "out"
    )
    assert path.name == "x_cuts.jsonl.gz"
    cuts = read(path)
    assert [(c.start, c.duration, c.supervisions[0].text) for c in cuts] == spans


# train_bpe


def texts() -> list[str]:
    return [" ".join(order) for order in permutations(WORDS, 3)]


def test_a_token_set_is_the_same_every_time() -> None:
    assert train_bpe(texts(), 20)[0] == train_bpe(texts(), 20)[0]


def test_a_token_set_has_the_size_asked_for_or_what_the_text_carries(tmp_path: Path) -> None:
    for wanted in (20, 500):
        model, size = train_bpe(texts(), wanted)
        (tmp_path / "bpe.model").write_bytes(model)
        tokenizer = Tokenizer(tmp_path / "bpe.model")
        assert tokenizer.vocab_size == size
        assert size == 20 if wanted == 20 else 20 < size < 500
        assert all(tokenizer.decode(tokenizer.encode(t)) == t for t in texts())


def test_too_small_a_token_set_says_the_smallest_possible() -> None:
    with pytest.raises(ValueError, match="needs at least (\\d+)") as caught:
        train_bpe(texts(), 7)
    smallest = int(str(caught.value).split("at least ")[1].split(",")[0])
    assert train_bpe(texts(), smallest)[1] == smallest
    with pytest.raises(ValueError):
        train_bpe(texts(), smallest - 1)


def test_a_token_set_needs_text() -> None:
    with pytest.raises(ValueError, match="no text"):
        train_bpe(["", "  "], 20)


def test_the_command_says_that_it_lowered_the_size(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("\n".join(texts()))
    done = run(
        *(sys.executable, ROOT / "local/train_bpe.py", "--text", tmp_path / "text"),
        *("--vocab-size", "400", "--out", tmp_path / "lang/bpe.model"),
    )
    assert done.returncode == 0, done.stderr
    assert "400 were asked for" in done.stdout
    assert Tokenizer(tmp_path / "lang/bpe.model").vocab_size < 400


# validate_manifest


def test_a_summary_counts_cuts_hours_and_what_training_drops(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0, 2.0])
    rng = np.random.default_rng(0)
    cuts.append(write_cut(tmp_path, "much", rng.standard_normal(8000), "one " * 30))
    cuts.append(write_cut(tmp_path, "mute", rng.standard_normal(8000), None))
    manifest = write_manifest(tmp_path / "some.jsonl.gz", cuts)
    summary = validate(manifest, make_tokenizer(tmp_path), DataConfig(), load=True)
    assert (summary.cuts, summary.seconds, summary.words) == (4, 4.0, 34)
    assert summary.speakers == {"ann"}
    assert dict(summary.dropped) == {"more tokens than output frames": 1, "no transcript": 1}
    assert summary.errors == []
    text = table([summary])
    assert "some" in text and "training drops 1: no transcript" in text


def test_a_summary_names_every_error(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0] * 3)
    cuts[2].id = cuts[0].id
    Path(cuts[1].recording.sources[0].source).unlink()
    samples = np.ones(8000, dtype=np.float32)
    cuts.append(write_cut(tmp_path, "loud", samples, "ONE"))
    cuts.append(write_cut(tmp_path, "phone", samples, "one", rate=8000))
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    errors = validate(manifest, make_tokenizer(tmp_path), DataConfig(), load=True).errors
    assert len(errors) == 4
    for part in ("cut000 occurs more than once", "cut001", "'ONE'", "8000 Hz"):
        assert any(part in error for error in errors)


def test_the_command_fails_on_problems(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [1.0] * 2)
    cuts[0].supervisions[0].text = "ONE"
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    make_tokenizer(tmp_path)
    command = (sys.executable, ROOT / "local/validate_manifest.py", manifest, "--bpe-model")
    done = run(*command, tmp_path / "bpe.model")
    assert done.returncode == 1
    assert "ERROR m: cut cut000" in done.stdout
    missing = run(*command, tmp_path / "no.model")
    assert missing.returncode == 1
    assert "no.model not found" in missing.stderr and "Traceback" not in missing.stderr


# stages.sh

SCRIPT = """\
set -euo pipefail
data_dir={data}
greeting=hello
. {root}/local/stages.sh
parse_options "data_dir greeting" "$@"
both() {{ echo "$1" >> {data}/log; {middle}; echo after >> {data}/log; }}
stage 0 "greet" both "$greeting"
stage 1 "leave" sh -c "echo bye >> {data}/log"
"""


def stages(tmp_path: Path, *options: str, middle: str = "true") -> tuple[int, str, str]:
    """Runs a small prepare.sh: exit status, what it did, what it printed."""
    script = tmp_path / "prepare.sh"
    script.write_text(SCRIPT.format(data=tmp_path, root=ROOT, middle=middle))
    log = tmp_path / "log"
    log.write_text("")
    done = run("bash", script, *options)
    return done.returncode, log.read_text(), done.stdout + done.stderr


def test_finished_stages_are_skipped(tmp_path: Path) -> None:
    assert stages(tmp_path)[:2] == (0, "hello\nafter\nbye\n")
    status, log, printed = stages(tmp_path)
    assert (status, log) == (0, "")
    assert printed.count("done before") == 2


def test_forced_stages_run_again(tmp_path: Path) -> None:
    stages(tmp_path)
    assert stages(tmp_path, "--force")[1] == "hello\nafter\nbye\n"


def test_a_changed_option_makes_its_stage_and_the_later_ones_run_again(tmp_path: Path) -> None:
    stages(tmp_path)
    assert stages(tmp_path, "--greeting", "hi")[1] == "hi\nafter\nbye\n"
    assert stages(tmp_path, "--greeting=hi")[1] == ""


def test_only_the_stages_asked_for_run(tmp_path: Path) -> None:
    assert stages(tmp_path, "--stop-stage", "0")[1] == "hello\nafter\n"
    assert stages(tmp_path, "--stage", "1")[1] == "bye\n"


def test_a_failing_command_inside_a_stage_stops_everything(tmp_path: Path) -> None:
    status, log, printed = stages(tmp_path, middle="false")
    assert (status, log) == (1, "hello\n")
    assert "stage 0 (greet) failed" in printed
    assert stages(tmp_path)[1] == "hello\nafter\nbye\n"


@pytest.mark.parametrize("options", [("--nonsense", "1"), ("plain",), ("--greeting",)])
def test_wrong_options_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    status, log, printed = stages(tmp_path, *options)
    assert (status, log) == (1, "")
    assert options[0] in printed
