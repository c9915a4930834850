"""Which test sets to decode."""

from __future__ import annotations

from pathlib import Path

from zipformer.config import RunConfig


def choose_sets(config: RunConfig, text: str | None) -> dict[str, Path]:
    """Test sets by name: those of the run's config, or others as ``name=manifest``.

    Args:
        config: Of the trained model.
        text: Separated by commas, as in ``clean,mine=data/mine.jsonl.gz``; None = all of the
            config.

    Raises:
        ValueError: If a set is unknown, listing those there are, or there is none.
    """
    known = config.data.test
    chosen = dict(known) if text is None else {}
    for part in (text or "").split(","):
        name, equals, path = part.strip().partition("=")
        if equals:
            chosen[name] = Path(path)
        elif name in known:
            chosen[name] = known[name]
        elif name:
            there = ", ".join(known) or "none"
            raise ValueError(
                f"unknown test set {name!r}; the run's config (data.test) has: {there}. "
                f"Write {name}=cuts.jsonl.gz to decode any manifest"
            )
    if not chosen:
        raise ValueError("no test set: write --sets name=cuts.jsonl.gz")
    return chosen
