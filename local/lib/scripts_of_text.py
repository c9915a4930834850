"""In which scripts transcripts are written: a corpus in two of them is rarely meant to be so."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

# Written together as a matter of course.
ONE_SCRIPT = {"HIRAGANA": "JAPANESE", "KATAKANA": "JAPANESE", "KATAKANA-HIRAGANA": "JAPANESE"}


@lru_cache(maxsize=65536)
def script_of(character: str) -> str:
    """The script of a letter, as the first word of its name in Unicode; empty if it is no letter.

    Example:
        >>> script_of("a"), script_of("\u0436"), script_of("7")
        ('LATIN', 'CYRILLIC', '')
    """
    if not unicodedata.category(character).startswith("L"):
        return ""
    first = unicodedata.name(unicodedata.normalize("NFKC", character)[0], "UNKNOWN").split()[0]
    return ONE_SCRIPT.get(first, first)


def report(texts: Iterable[tuple[str, str]]) -> list[str]:
    """A line if transcripts are in several scripts: how many are in which, and an example of each.

    Han together with Japanese is Japanese.

    Args:
        texts: Ids and transcripts.
    """
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for name, text in texts:
        for script in {script_of(character) for character in text} - {""}:
            counts[script] += 1
            examples.setdefault(script, name)
    if "JAPANESE" in counts:
        counts.pop("CJK", None)
    if len(counts) < 2:
        return []
    found = (f"{script.title()} in {n} ({examples[script]})" for script, n in counts.most_common())
    return [f"transcripts are in {len(counts)} scripts: {', '.join(found)}"]
