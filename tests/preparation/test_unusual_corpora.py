"""Corpora as disks hold them: odd ids, times beyond the audio, moved folders, several channels."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from data.small_corpus import make_cuts, make_tokenizer, write_manifest
from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from preparation.steps import ROOT, run_script

from local.compute_fbank import Settings, compute, cuts_of_recordings
from local.lib.audio_files import Utterance, cut_of, decode_all
from local.lib.channels import Channels
from local.lib.feature_chunks import key_of
from local.relocate import by_prefix, by_search, manifests_in, relocate
from local.to_shar import to_shar
from local.validate_manifest import validate
from zipformer.config import DataConfig
from zipformer.data.dataset import load_features
from zipformer.data.loader import eval_batches
from zipformer.data.sound_files import read_audio


def test_ids_that_look_alike_as_file_names_keep_their_own_features(tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a b", "x" * 300, "ü" * 200, "../c", ".d", "a:b"]
    cuts = make_cuts(tmp_path, [0.5 + 0.1 * i for i in range(len(names))])
    for cut, name in zip(cuts, names, strict=True):
        cut.id = name
    raw, out = write_manifest(tmp_path / "raw.jsonl.gz", cuts), tmp_path / "cuts.jsonl.gz"
    compute(Settings(raw, out, tmp_path / "feats", storage="numpy_files"))
    stored = {cut.id: cut for cut in CutSet.from_file(out)}
    assert list(stored) == names
    for cut in cuts:
        assert np.array_equal(load_features(stored[cut.id], 16000), load_features(cut, 16000))
    assert not list(tmp_path.parent.glob("*.npy"))


def test_plain_ids_name_their_files() -> None:
    assert key_of("1272-128104-0000_sp0.9") == "1272-128104-0000_sp0.9"
    assert len({key_of(name) for name in ("a/b", "a_b", "a:b", "a b")}) == 4
    assert all(len(key_of("ü" * n).encode()) < 110 for n in (1, 50, 500))


def test_one_id_for_two_cuts_is_refused(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path, [0.5, 0.6])
    cuts[1].id = cuts[0].id
    raw = tmp_path / "raw.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(raw)
    with pytest.raises(ValueError, match="ids stand for several cuts, as 'cut000'"):
        compute(Settings(raw, tmp_path / "out.jsonl.gz", tmp_path / "feats"))


def test_supervisions_are_clipped_a_little_and_left_out_by_name_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(32000, 0.1, np.float32), 16000)
    recording = Recording.from_file(tmp_path / "a.wav", recording_id="a")
    times = {"good": (0.5, 1.0), "late": (1.0, 1.005), "early": (-0.01, 0.5)}
    wrong = {"none": (0.5, 0.0), "negative": (-3.0, 1.0), "far": (1.0, 9.0), "after": (2.2, 0.1)}
    segments = [
        SupervisionSegment(name, "a", start, duration, text="one")
        for name, (start, duration) in {**times, **wrong}.items()
    ]
    segments.append(SupervisionSegment("unknown", "b", 0.0, 1.0, text="one"))
    segments.append(SupervisionSegment("right", "a", 0.0, 1.0, text="one", channel=1))
    RecordingSet.from_recordings([recording]).to_file(tmp_path / "x_recordings.jsonl.gz")
    SupervisionSet.from_segments(segments).to_file(tmp_path / "x_supervisions.jsonl.gz")
    manifests = tmp_path / "x_recordings.jsonl.gz", tmp_path / "x_supervisions.jsonl.gz"
    with pytest.raises(ValueError, match="6 of 9 utterances cannot be used"):
        cuts_of_recordings(*manifests, tmp_path)
    printed = capsys.readouterr().out
    for name in [*wrong, "unknown", "right"]:
        assert name in printed
    SupervisionSet.from_segments(segments[:4]).to_file(manifests[1])
    cuts = list(CutSet.from_file(cuts_of_recordings(*manifests, tmp_path)))
    assert [(c.start, c.duration) for c in cuts] == [(0.5, 1.0), (1.0, 1.0), (0.0, 0.49)]


def test_a_moved_folder_is_named_and_can_be_written_into_its_manifests(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    cuts = make_cuts(old / "audio", [0.5, 0.6, 0.7])
    compute(
        Settings(
            write_manifest(old / "raw.jsonl.gz", cuts),
            old / "fbank.jsonl.gz",
            old / "feats",
            storage="numpy_files",
        )
    )
    tokenizer = make_tokenizer(tmp_path)
    old.rename(new)
    for name, missing in (("raw", "old/audio/cut"), ("fbank", "old/feats")):
        with pytest.raises(ValueError, match=f"{missing}.*relocate.py"):
            list(eval_batches(new / f"{name}.jsonl.gz", tokenizer, DataConfig(num_workers=0)))
        with pytest.raises(ValueError, match=f"{missing}.*relocate.py"):
            to_shar(new / f"{name}.jsonl.gz", tmp_path / "shar")
        errors = validate(new / f"{name}.jsonl.gz", None, DataConfig(), load=True).errors
        assert len(errors) == 3 and all(re.search(f"{missing}.*relocate.py", e) for e in errors)
    with pytest.raises(ValueError, match=r"old/audio/cut.*no such folder .*relocate\.py"):
        compute(Settings(new / "raw.jsonl.gz", tmp_path / "o.jsonl.gz", tmp_path / "f"))
    moves = [by_search(new), by_prefix(str(new), str(old)), by_prefix(str(old), str(new))]
    for move, there in zip(moves, (True, False, True), strict=True):
        assert sum(relocate(path, move) for path in manifests_in(new)) == 9  # 3 raw, 6 fbank
        sources = [c.recording.sources[0].source for c in CutSet.from_file(new / "raw.jsonl.gz")]
        assert all(Path(source).exists() == there for source in sources)
    for name in ("raw", "fbank"):
        batches = eval_batches(new / f"{name}.jsonl.gz", tokenizer, DataConfig(num_workers=0))
        assert sum(len(batch.cut_ids) for batch in batches) == 3


def test_what_relocating_does_not_find_is_named_and_finished_stages_stay_finished(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old" / "data", tmp_path / "new" / "data"
    inside, outside = make_cuts(old / "audio", [0.5]), make_cuts(tmp_path / "far", [0.5, 0.6])
    write_manifest(old / "raw.jsonl.gz", [*inside, outside[1]])
    (old / ".done").mkdir()
    command = f"train --cuts {old}/raw --out={old} --more {old}er {tmp_path}/old/local/x.py\n"
    (old / ".done" / "1").write_text(command)
    new.parent.mkdir()
    old.rename(new)
    (tmp_path / "far").rename(tmp_path / "further")
    lost = run_script("local/relocate.py", new)
    assert lost.returncode == 1 and "raw.jsonl.gz: 1 paths changed" in lost.stdout
    assert (
        f"1 files and folders of these manifests are not there, as {tmp_path}/far/" in lost.stderr
    )
    moved = (
        f"train --cuts {new}/raw --out={new} --more {tmp_path}/new/dataer {tmp_path}/new/local/x.py"
    )
    assert (new / ".done" / "1").read_text().split() == moved.split()
    options = ("--from", tmp_path / "far", "--to", tmp_path / "further")
    found = run_script("local/relocate.py", new, *options)
    assert found.returncode == 0 and "every file of its manifests is there" in found.stdout
    assert all(cut.load_audio().size for cut in CutSet.from_file(new / "raw.jsonl.gz"))
    again = run_script("local/relocate.py", new)
    assert again.returncode == 0 and "changed" not in again.stdout


def test_files_of_several_channels_need_a_choice(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).standard_normal((16000, 2)).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "two.wav", sound, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "one.wav", sound[:, :1], 16000, subtype="FLOAT")
    files = [Utterance(name, tmp_path / f"{name}.wav", "x") for name in ("one", "two")]
    good, bad = decode_all(files, 1, "test")
    assert [u.name for u, _ in good] == ["one"] and bad[0].reason.startswith("several channels")
    for channel in (0, 1):
        good, bad = decode_all(files, 1, "test", Channels(channel))
        assert bad == []
        one, two = (cut_of(u, r, channels=Channels(channel)).load_audio()[0] for u, r in good)
        assert np.array_equal(two, sound[:, channel]) and np.array_equal(one, sound[:, 0])
    good, bad = decode_all(files, 1, "test", Channels(2))
    assert [u.name for u, _ in good] == ["one"] and bad[0].reason == "no channel 2"


@pytest.mark.parametrize("form", [("wav", "FLOAT"), ("flac", "PCM_24")])
def test_the_mean_of_channels_is_what_transcription_hears(
    tmp_path: Path, form: tuple[str, str]
) -> None:
    sound = np.random.default_rng(0).standard_normal((16000, 3)).astype(np.float32) * 0.1
    path = tmp_path / f"three.{form[0]}"
    soundfile.write(path, sound, 16000, subtype=form[1])
    mean = Channels.of("mean", tmp_path / "out")
    ((utterance, recording),), bad = decode_all([Utterance("a/b", path, "x")], 1, "test", mean)
    cut = cut_of(utterance, recording, channels=mean)
    assert bad == [] and cut.num_channels == 1
    assert np.array_equal(cut.load_audio()[0], read_audio(path).numpy())
    assert cut.recording.id == cut.id == "a/b"


def test_an_interrupted_preparation_says_one_line_and_leaves_no_process(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [0.5, 0.5])
    raw = write_manifest(tmp_path / "x_cuts.jsonl.gz", cuts)
    endless = Path(cuts[1].recording.sources[0].source)
    endless.unlink()
    os.mkfifo(endless)  # whoever opens it waits
    command = [sys.executable, str(ROOT / "local/compute_fbank.py"), "--cuts", str(raw)]
    command += ["--out-dir", str(tmp_path / "out"), "--num-jobs", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(list((tmp_path / "out").glob("feats/*/parts/*"))) < 2 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        for _ in range(500):
            os.killpg(process.pid, 0)
            time.sleep(0.02)
