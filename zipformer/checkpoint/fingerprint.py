"""Short hashes that tell whether two results are about the same thing.

They depend on content alone: neither on the order of utterances, nor on folders, nor on the day on
which a manifest was written.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from zipformer.config import DataConfig, RunConfig, WeightedManifest
from zipformer.config.keys import CHANGEABLE_KEYS, flatten, is_under
from zipformer.config.toml import Plain, to_dict
from zipformer.data.manifests import shards_in

# What is no choice of a method: paths, and the seed that several runs of one method differ in.
NO_METHOD = (*CHANGEABLE_KEYS, "train.seed", "data.train", "data.noise")
# Choices that were called otherwise at first, by key. They are hashed by that name, so that a new
# one makes no other method of what was trained before.
FIRST_NAMES = {"encoder.block": {"conformer_pair": "conformer"}}


def fingerprint(items: Iterable[tuple[str, ...]]) -> str:
    """16 hex digits for a collection of texts, the same in whatever order they come.

    Example:
        >>> fingerprint([("a", "one"), ("b", "two")]) == fingerprint([("b", "two"), ("a", "one")])
        True
    """
    count = total = 0
    for item in items:
        count += 1
        total += int.from_bytes(_digest(json.dumps(item)))
    return _digest(f"{count} {total}").hex()


def training_data_fingerprint(data: DataConfig) -> str | None:
    """Of what a run trains on: names, lengths and texts of all cuts, weights, the noise mixed in.

    Returns:
        None if there is no manifest, or one of them cannot be read on this machine.
    """
    return _of_manifests(data.corpora, data.noise)


def settings_fingerprint(config: RunConfig) -> str:
    """Of a method: all settings that differ from the defaults, but for paths and the seed.

    That only differences count lets results be compared over versions that add settings.
    """
    default = flatten(to_dict(RunConfig()))
    return fingerprint(
        (key, json.dumps(_first_name(key, value)))
        for key, value in flatten(to_dict(config)).items()
        if value != default.get(key) and not is_under(key, NO_METHOD)
    )


def _first_name(key: str, value: Plain) -> Plain:
    names = FIRST_NAMES.get(key, {})
    return names.get(value, value) if isinstance(value, str) else value


@cache
def _of_manifests(train: tuple[WeightedManifest, ...], noise: Path | None) -> str | None:
    if not train:
        return None
    try:
        items: list[tuple[str, ...]] = [("speech", fingerprint(_cuts(c.path for c in train)))]
        for corpus in train:
            if corpus.weight != 1.0:
                of_it = fingerprint(_cuts([corpus.path]))
                items.append(("weight", of_it, repr(corpus.weight)))
        if noise is not None:
            items.append(("noise", fingerprint(_cuts([noise]))))
    except (OSError, EOFError, ValueError, KeyError):  # not there, or damaged
        return None
    return fingerprint(items)


def _cuts(manifests: Iterable[Path]) -> Iterator[tuple[str, ...]]:
    """(name, length in ms, text, ...) of every cut."""
    for manifest in manifests:
        for path in shards_in(manifest) if manifest.is_dir() else [manifest]:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rb") as lines:
                yield from (_outline(json.loads(line)) for line in lines if line.strip())


def _outline(cut: dict[str, Any]) -> tuple[str, ...]:
    parts = [track["cut"] for track in cut.get("tracks", [])] or [cut]
    texts = [str(s.get("text", "")) for part in parts for s in part.get("supervisions", [])]
    seconds = sum(part.get("duration", 0.0) for part in parts)
    return (cut["id"], str(round(1000 * seconds)), *texts)


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()
