"""Cuts that are in several manifests: heard twice in training, or trained on and tested with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import combinations

from lhotse.cut import Cut

from zipformer.data.manifests import text_of


def key_of_cut(cut: Cut) -> int:
    """Stands for a cut: its id and what is said in it. An id alone may be of two corpora."""
    said = f"{cut.id}\0{cut.duration}\0{text_of(cut)}".encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest())


def overlaps(keys: Sequence[set[int]]) -> Iterator[tuple[int, int, int]]:
    """Pairs of manifests, by their numbers, with the count of the cuts that both hold."""
    for first, second in combinations(range(len(keys)), 2):
        if count := len(keys[first] & keys[second]):
            yield first, second, count
