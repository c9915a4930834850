"""Several corpora as one: how much of each an epoch takes, and in which order.

A weight says how often each cut of a manifest comes in an epoch, on average; a path alone has
weight 1, so that an epoch of unweighted manifests is every cut once. The epochs go through the
endless repetition of a manifest one after another, each taking ``weight * size`` cuts of it: with
weight 0.5 two epochs together have every cut once, with 2.5 they have every cut five times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path

from lhotse import CutSet
from lhotse.cut import Cut

from zipformer.config import WeightedManifest
from zipformer.data.manifests import count_cuts, manifest_seconds, open_cuts


class Mixture:
    """The cuts of an epoch, a function of seed and epoch alone.

    Args:
        corpora: What is trained on.

    Raises:
        FileNotFoundError: If a manifest is missing.
        ValueError: If there is no manifest, if there are no cuts in them, or if a weight does not
            suit its manifest.
    """

    def __init__(self, corpora: Sequence[WeightedManifest]) -> None:
        if not corpora:
            raise ValueError("data.train names no cuts manifest to train on")
        self.corpora = corpora
        self.sizes = [count_cuts(corpus.path) for corpus in corpora]
        names = ", ".join(str(corpus.path) for corpus in corpora)
        if not sum(self.sizes):
            raise ValueError(f"no cuts in {names}")
        for corpus, size in zip(corpora, self.sizes, strict=True):
            if not size and corpus.weight != 1.0:
                raise ValueError(
                    f"data.train: {corpus.path} has weight {corpus.weight:g} and holds no cut: "
                    "prepare it again, or take it out of the list"
                )
        if not self.num_cuts:
            raise ValueError(
                f"data.train: the weights of {names} are so small that the first epoch has no cut: "
                "raise them; a weight of 1 is every cut once an epoch"
            )

    @property
    def num_cuts(self) -> int:
        """Cuts of the first epoch; others have the same, but for one of each manifest."""
        return sum(map(len, self._spans(1)))

    def cuts(self, epoch: int, seed: int) -> Iterable[Cut]:
        """The cuts of an epoch, those of all manifests interleaved evenly; lazy."""
        parts = [
            Part(corpus.path, size, span)
            for corpus, size, span in zip(self.corpora, self.sizes, self._spans(epoch), strict=True)
            if span
        ]
        if len(parts) == 1:
            return parts[0]
        counts: list[int | float] = [len(part.span) for part in parts]
        return CutSet.mux(*parts, weights=counts, seed=seed % 2**32)

    def describe(self) -> list[str]:
        """A line on every manifest: its share of an epoch."""
        cuts = [corpus.weight * n for corpus, n in zip(self.corpora, self.sizes, strict=True)]
        seconds = [corpus.weight * manifest_seconds(corpus.path) for corpus in self.corpora]
        return [
            f"{corpus.path}: {size} cuts, weight {corpus.weight:g}: {100 * n / sum(cuts):.1f} % of "
            f"the cuts of an epoch, {100 * length / max(sum(seconds), 1e-9):.1f} % of its audio"
            for corpus, size, n, length in zip(self.corpora, self.sizes, cuts, seconds, strict=True)
        ]

    def _spans(self, epoch: int) -> list[range]:
        """Which cuts of the endless repetition of each manifest an epoch takes, from epoch 1 on."""
        each = [
            Fraction(repr(corpus.weight)) * size  # 0.3 is meant as written, not as a double has it
            for corpus, size in zip(self.corpora, self.sizes, strict=True)
        ]
        return [range(int((epoch - 1) * n // 1), int(epoch * n // 1)) for n in each]


@dataclass(frozen=True)
class Part:
    """A stretch of the endless repetition of a manifest.

    Args:
        path: The manifest.
        size: Its cuts.
        span: Which cuts of the repetition.
    """

    path: Path
    size: int
    span: range

    def __iter__(self) -> Iterator[Cut]:
        first = self.span.start % self.size
        end = first + len(self.span)
        passes = map(open_cuts, repeat(self.path, -(-end // self.size)))
        return islice(chain.from_iterable(passes), first, end)
