"""What is compared when words are scored: both texts by the same rules, cut into units.

The rules are applied in the order in which ``ScoringConfig`` lists them. The first is no choice:
the normalisation that the vocabulary does anyway, so that a perfect hypothesis has no error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from kaldialign import align

from zipformer.config import ScoringConfig
from zipformer.tokens.scripts import is_unspaced, words_and_characters
from zipformer.tokens.tokenizer import Tokenizer

NO_UNIT = ""  # stands for nothing in an alignment

# Of error rates, by what was counted.
RATES = {"word": "WER", "char": "CER", "mixed": "MER"}
ERROR_RATES = frozenset(name.lower() for name in RATES.values())  # in names of figures

Rule = Callable[[str], str]


class Scorer:
    """Cuts references and hypotheses into what is scored.

    Args:
        rules: The section ``[scoring]``.
        tokenizer: Of the model, whose normalisation both texts pass.

    Raises:
        ValueError: If the file ``scoring.glm`` is missing or holds something else.
        ImportError: If ``scoring.whisper`` needs a package that is not installed.
    """

    def __init__(self, rules: ScoringConfig, tokenizer: Tokenizer) -> None:
        self._rules = rules
        self._steps: list[Rule] = [tokenizer.plain, *_steps(rules)]
        self._dropped = {word for text in rules.drop for word in self._written(text).split()}

    def pair(self, reference: str, hypothesis: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The units of both; compounds of the hypothesis as the reference writes them."""
        said, heard = self.units(reference), self.units(hypothesis)
        return said, _with_compounds_of(said, heard) if self._rules.merge_compounds else heard

    def units(self, text: str) -> tuple[str, ...]:
        """What is scored of a text: words, characters, or both (``scoring.unit``)."""
        words = [word for word in self._written(text).split() if word not in self._dropped]
        if self._rules.unit == "word":
            return tuple(words)
        if self._rules.unit == "char":
            return tuple("".join(words))
        return tuple(words_and_characters(" ".join(words)))

    def _written(self, text: str) -> str:
        for step in self._steps:
            text = step(text)
        return text


def unit_of(rules: ScoringConfig, references: Iterable[Sequence[str]]) -> str:
    """What was counted in a test set: ``word``, ``char``, or ``mixed``, as ``RATES`` has them.

    Args:
        rules: The section ``[scoring]``.
        references: Units of what was said. Where these decide, characters of scripts without
            blanks are ``char`` if there are no words beside them, and ``mixed`` if there are;
            punctuation decides nothing.
    """
    if rules.unit != "auto":
        return rules.unit
    letters = (unit for said in references for unit in said if any(c.isalnum() for c in unit))
    found = {is_unspaced(unit) for unit in letters}
    return "word" if found <= {False} else "char" if found == {True} else "mixed"


def _steps(rules: ScoringConfig) -> list[Rule]:
    steps: list[Rule] = []
    if rules.whisper != "none":
        steps.append(_whisper(rules.whisper))
    if rules.lowercase:
        steps.append(str.casefold)
    if rules.glm is not None:
        steps.append(_mapping(read_glm(rules.glm)))
    if rules.drop_punctuation:
        steps.append(without_punctuation)
    return steps


def _whisper(name: str) -> Rule:
    try:
        from whisper_normalizer import basic, english
    except ImportError:
        raise ImportError(
            f"scoring.whisper = {name!r} needs the package whisper-normalizer: "
            "pip install whisper-normalizer"
        ) from None
    found: Rule = (
        english.EnglishTextNormalizer() if name == "english" else basic.BasicTextNormalizer()
    )
    return found


def without_punctuation(text: str) -> str:
    """A text without punctuation and symbols, but for apostrophes and hyphens within words.

    Example:
        >>> without_punctuation("Well, don't: 'x-ray'!")
        "Well  don't   x-ray  "
    """
    inside = {match.start() for match in re.finditer(r"(?<=\w)['\u2019-](?=\w)", text)}
    return "".join(
        " " if i not in inside and unicodedata.category(c)[0] in "PS" else c
        for i, c in enumerate(text)
    )


@cache
def read_glm(path: Path) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Reads a global mapping file: lines ``words => other words``, comments after ``;``.

    Contexts (``/ [ ] __ [ ]``) and alternatives (``{a / b}``) of NIST's format are not understood.

    Raises:
        ValueError: Naming the line that is no such rule.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"scoring.glm: {path} cannot be read ({error})") from None
    found = {}
    for number, line in enumerate(lines, start=1):
        rule = re.sub(r"/\s*\[\s*\]\s*__\s*\[\s*\]\s*$", "", line.partition(";")[0].strip())
        if not rule or rule.startswith("*"):
            continue
        said, arrow, instead = rule.partition("=>")
        words = said.replace("[", " ").replace("]", " ").split()
        others = instead.replace("[", " ").replace("]", " ").split()
        if not arrow or not words or any(c in rule for c in "{}/_"):
            raise ValueError(
                f"scoring.glm: {path}, line {number}: {line.strip()!r} is not 'words => words'; "
                "contexts and alternatives are not understood"
            )
        found[tuple(words)] = tuple(others)
    return found


def _mapping(rules: dict[tuple[str, ...], tuple[str, ...]]) -> Rule:
    """Replaces words from left to right, the longest rule that fits first."""
    longest = max(map(len, rules), default=0)

    def replaced(text: str) -> str:
        words, found, i = text.split(), list[str](), 0
        while i < len(words):
            for count in range(min(longest, len(words) - i), 0, -1):
                key = tuple(words[i : i + count])
                if key in rules:
                    found += rules[key]
                    i += count
                    break
            else:
                found.append(words[i])
                i += 1
        return " ".join(found)

    return replaced


def _with_compounds_of(said: Sequence[str], heard: Sequence[str]) -> tuple[str, ...]:
    """What was heard, with compounds written in one word or several as they were said.

    Example:
        >>> _with_compounds_of(("a", "blackbird"), ("a", "black", "bird", "sang"))
        ('a', 'blackbird', 'sang')
    """
    pairs = align(list(said), list(heard), NO_UNIT, merge_compounds=True)
    found: list[str] = []
    for reference, hypothesis in pairs:
        same = reference.replace(" ", "") == hypothesis.replace(" ", "")
        found += (reference if same else hypothesis).split()
    return tuple(found)
