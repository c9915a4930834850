"""Lists of phrases that are to be preferred, and the files that people write them in.

A line is a phrase; `` :2.5`` at its end is the score of each of its tokens, as in hotwords files of
sherpa-onnx.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zipformer.biasing.graph import PhraseGraph
from zipformer.tokens import Tokenizer

logger = logging.getLogger(__name__)

DEFAULT_SCORE = 1.5
MOST_NAMED = 10  # phrases that a warning names


@dataclass(frozen=True)
class Phrase:
    """A phrase as a search knows it.

    Args:
        text: As it was written.
        tokens: Token ids, at least one.
        score: What each of its tokens is worth, a natural logarithm of probabilities; the whole
            phrase is worth as many times that.
    """

    text: str
    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Hotwords:
    """A list of phrases for one vocabulary.

    Args:
        name: What results are filed under: letters, digits and ``. + -``.
        phrases: No two of the same tokens.
        vocabulary: Number of token ids.
    """

    name: str
    phrases: tuple[Phrase, ...]
    vocabulary: int

    @cached_property
    def graph(self) -> PhraseGraph:
        """Of the phrases."""
        return PhraseGraph.of([(p.tokens, p.score) for p in self.phrases], self.vocabulary)

    @staticmethod
    def of(name: str, lines: Iterable[tuple[str, float]], tokenizer: Tokenizer) -> Hotwords:
        """Phrases with their scores, cut into tokens.

        Phrases that the vocabulary cannot write are left out, and a warning names them. Of one that
        comes with several scores the largest counts, whatever the order; a warning names it too.

        Args:
            name: Of the list; what results are filed under is made of it and of the phrases.
            lines: Phrases and the score of each of their tokens.
            tokenizer: Of the model.

        Raises:
            ValueError: If the vocabulary can write text, but not cut it.
        """
        found: dict[tuple[int, ...], Phrase] = {}
        unknown: list[str] = []
        several: dict[str, set[float]] = {}
        for text, score in lines:
            tokens = tuple(tokenizer.encode(text))
            if strange := _strange(text, tokens, tokenizer):
                unknown.append(f"{text!r} ({strange})")
                continue
            before = found.get(tokens)
            if before is not None and before.score != score:
                several.setdefault(before.text, {before.score}).add(score)
            if before is None or before.score < score:
                found[tokens] = Phrase(before.text if before else text, tokens, score)
        _warn(name, unknown, "left out, for this vocabulary cannot write them")
        contradictions = [f"{t!r} ({', '.join(_numbers(s))})" for t, s in several.items()]
        _warn(name, contradictions, "with several scores, of which the largest counts")
        phrases = tuple(found.values())
        return Hotwords(_filed(name, phrases), phrases, tokenizer.vocab_size)


def read_hotwords(path: Path, tokenizer: Tokenizer, score: float = DEFAULT_SCORE) -> Hotwords:
    """Reads a file of phrases.

    Args:
        path: UTF-8, a phrase a line; lines without one are passed over.
        tokenizer: Of the model.
        score: Of each token, where the line does not say it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no text, if a score is no number, or as ``Hotwords.of``.
    """
    if not math.isfinite(score):
        raise ValueError(f"the score {score} of phrases (--hotwords-score) must be a finite number")
    return Hotwords.of(path.stem, _read(path, score), tokenizer)


def _read(path: Path, score: float) -> Iterator[tuple[str, float]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"--hotwords: there is no file {path}; it has a phrase on each line"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"--hotwords: {path} is no text in UTF-8 ({error})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        *words, last = line.split() or [""]
        if not last.startswith(":") or last == ":":
            words, last = [*words, last], ""
        if not (phrase := " ".join(words).strip()):
            if last:
                logger.warning("%s, line %d: a score (%s) without a phrase", path, number, last)
            continue
        yield phrase, _score(last[1:], f"{path}, line {number}") if last else score


def _score(text: str, where: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise ValueError(
            f"--hotwords: {where}: ':{text}' is no score; write a phrase, and ' :2.5' after it if "
            "its tokens are to have a score of their own"
        )
    return score


def _strange(text: str, tokens: tuple[int, ...], tokenizer: Tokenizer) -> str:
    """What the vocabulary cannot write of a phrase; nothing if it can."""
    unknown = tokenizer.unknown_characters(text)
    if unknown:
        return "".join(sorted(unknown))
    return "no token of its own" if not tokens or tokenizer.unk_id in tokens else ""


def _warn(name: str, phrases: list[str], what: str) -> None:
    if phrases:
        more = f" and {len(phrases) - MOST_NAMED} more" if len(phrases) > MOST_NAMED else ""
        named = ", ".join(phrases[:MOST_NAMED])
        logger.warning("hotwords %s: phrases %s (%d): %s%s", name, what, len(phrases), named, more)


def _numbers(scores: set[float]) -> list[str]:
    return [f"{score:g}" for score in sorted(scores)]


def _filed(name: str, phrases: tuple[Phrase, ...]) -> str:
    """A name, and behind it what tells lists of this name apart; their order does not."""
    lines = sorted(f"{p.tokens} {p.score!r}" for p in phrases)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:6]
    return f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', name)[:40]}-{digest}"
