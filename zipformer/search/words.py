"""When the words were heard: tokens with times put together to words.

A transducer tells when it emitted a token, not where a sound begins and ends: a word is said to
last from the frame of its first token to the end of the frame of its last one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from zipformer.context import OUTPUT_FRAME_SECONDS
from zipformer.search.protocol import Hypothesis
from zipformer.tokens.pieces import WORD_START, text_of_tokens
from zipformer.tokens.scripts import is_unspaced


@dataclass(frozen=True)
class Word:
    """A word and when it was emitted.

    Args:
        text: As written.
        start: Seconds from the beginning of the audio, when its first token was emitted.
        end: Seconds, at the end of the frame of its last token.
        confidence: Geometric mean of the probabilities of its tokens, 0 to 1.
        spaced: Whether a blank stands before it, as it does but for Chinese and Japanese
            characters, which are words of one character each.
    """

    text: str
    start: float
    end: float
    confidence: float
    spaced: bool = True


def text_of(words: Sequence[Word]) -> str:
    """The text that words make."""
    return "".join(f" {word.text}" if word.spaced else word.text for word in words).lstrip(" ")


def words_of(hypothesis: Hypothesis, pieces: Sequence[str]) -> list[Word]:
    """The words of a hypothesis; ``text_of`` them is its text, single blanks between them."""
    words: list[Word] = []
    blank = False
    for first, last in _spans(hypothesis.tokens, pieces):
        log_probs = hypothesis.log_probs[first:last]
        start, final = hypothesis.frames[first], hypothesis.frames[last - 1]
        confidence = math.exp(sum(log_probs) / len(log_probs))
        written = text_of_tokens(hypothesis.tokens[first:last], pieces)
        blank |= pieces[hypothesis.tokens[first]].startswith(WORD_START)
        # More than one if tokens reach over blanks, none if there is nothing but a word's start.
        for text in written.split():
            stuck = words and is_unspaced(words[-1].text[-1]) and is_unspaced(text[0])
            words.append(
                Word(
                    text=text,
                    start=round(start * OUTPUT_FRAME_SECONDS, 3),
                    end=round((final + 1) * OUTPUT_FRAME_SECONDS, 3),
                    confidence=round(confidence, 4),
                    spaced=not words or (blank and not stuck),
                )
            )
            blank = True
        blank = (blank and not written) or written.endswith(" ")
    return words


def _spans(tokens: Sequence[int], pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Where words begin and end among the tokens."""
    starts, alone = [], True
    for i, token in enumerate(tokens):
        piece = pieces[token]
        if alone or piece.startswith(WORD_START) or is_unspaced(piece[:1]):
            starts.append(i)
        alone = is_unspaced(piece[-1:])
    return list(pairwise([*starts, len(tokens)]))
