"""Equal content has equal fingerprints, other content has others."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny_run import CONFIG

from zipformer.checkpoint.fingerprint import (
    settings_fingerprint,
    training_data_fingerprint,
)
from zipformer.config import DataConfig, RunConfig, TrainConfig
from zipformer.evaluation.scoring import Utterance, references_fingerprint

SAID = [Utterance.of_texts("a", "one two", "one"), Utterance.of_texts("b", "three", "three")]


def cut(cut_id: str, text: str, seconds: float = 1.0, folder: str = "/x") -> dict[str, Any]:
    return {
        "id": cut_id,
        "duration": seconds,
        "supervisions": [{"text": text}],
        "features": {"storage_path": folder},
    }


def manifest(path: Path, *cuts: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write("".join(json.dumps(c) + "\n" for c in cuts))
    return path


def of(*manifests: Path, noise: Path | None = None) -> str | None:
    return training_data_fingerprint(DataConfig(train=manifests, noise=noise))


def test_a_set_is_what_was_said_in_which_utterance_whatever_was_heard() -> None:
    wanted = references_fingerprint(SAID)
    assert references_fingerprint(reversed(SAID)) == wanted
    assert references_fingerprint([replace(u, hypothesis=()) for u in SAID]) == wanted
    assert references_fingerprint(SAID[:1]) != wanted
    assert references_fingerprint([*SAID, SAID[0]]) != wanted
    renamed = [replace(SAID[0], cut_id="c"), SAID[1]]
    swapped = [replace(SAID[0], reference=("three",)), replace(SAID[1], reference=("one", "two"))]
    assert len({references_fingerprint(s) for s in (SAID, renamed, swapped)}) == 3


def test_training_data_are_names_lengths_and_texts_wherever_they_lie(tmp_path: Path) -> None:
    cuts = [cut("a", "one"), cut("b", "two")]
    wanted = of(manifest(tmp_path / "m.jsonl.gz", *cuts))
    elsewhere = [cut("b", "two", folder="/y"), cut("a", "one", folder="/y")]
    assert of(manifest(tmp_path / "n.jsonl.gz", *elsewhere)) == wanted
    others = [
        [cut("a", "one"), cut("b", "three")],
        [cut("a", "one"), cut("b", "two", 2.0)],
        [cut("a", "one"), cut("c", "two")],
        cuts[:1],
    ]
    found = {of(manifest(tmp_path / f"{i}.jsonl.gz", *other)) for i, other in enumerate(others)}
    assert len(found) == len(others) and wanted not in found and None not in found


def test_shards_are_the_cuts_in_them(tmp_path: Path) -> None:
    whole = manifest(tmp_path / "m.jsonl.gz", cut("a", "one"), cut("b", "two"))
    manifest(tmp_path / "shar" / "cuts.000000.jsonl.gz", cut("a", "one"))
    manifest(tmp_path / "shar" / "cuts.000001.jsonl.gz", cut("b", "two"))
    assert of(tmp_path / "shar") == of(whole)


def test_speech_in_two_manifests_counts_for_both_and_noise_is_no_speech(tmp_path: Path) -> None:
    a = manifest(tmp_path / "a.jsonl.gz", cut("a", "one"))
    b = manifest(tmp_path / "b.jsonl.gz", cut("b", "two"))
    assert len({of(a), of(b), of(a, b), of(a, noise=b)}) == 4
    assert of(a, b) == of(b, a)


def test_mixed_cuts_are_their_tracks(tmp_path: Path) -> None:
    tracks = [[cut("x", text)] for text in ("one", "two")]
    mixed = [{"id": "m", "tracks": [{"cut": part} for part in parts]} for parts in tracks]
    first, second = (of(manifest(tmp_path / f"{i}.jsonl.gz", m)) for i, m in enumerate(mixed))
    assert first != second


def test_data_that_are_not_here_or_damaged_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl.gz").write_bytes(b"no gzip")
    assert of() is None
    assert of(tmp_path / "none.jsonl.gz") is None
    assert of(tmp_path / "bad.jsonl.gz") is None


def test_settings_are_the_method_not_the_place_the_length_or_the_seed() -> None:
    def moved(**changes: Any) -> RunConfig:
        return replace(CONFIG, train=replace(TrainConfig(), **changes))

    wanted = settings_fingerprint(CONFIG)
    places = DataConfig(train=(Path("/y"),), valid=(Path("/z"),), noise=Path("/n"))
    for config in (moved(exp_dir=Path("/q")), moved(seed=3), replace(CONFIG, data=places)):
        assert settings_fingerprint(config) == wanted
    louder = replace(CONFIG, data=DataConfig(noise_prob=0.9))
    slower = replace(CONFIG, optim=replace(CONFIG.optim, base_lr=0.01))
    narrow = replace(CONFIG, context=replace(CONFIG.context, right=(0,)))
    found = {settings_fingerprint(c) for c in (CONFIG, louder, slower, narrow)}
    assert len(found) == 4
