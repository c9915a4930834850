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
from zipformer.search.pieces import WORD_START, text_of_tokens
from zipformer.search.protocol import Hypothesis


@dataclass(frozen=True)
class Word:
    """A word and when it was emitted.

    Args:
        text: As written.
        start: Seconds from the beginning of the audio, when its first token was emitted.
        end: Seconds, at the end of the frame of its last token.
        confidence: Geometric mean of the probabilities of its tokens, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float


def words_of(hypothesis: Hypothesis, pieces: Sequence[str]) -> list[Word]:
    """The words of a hypothesis; joined by blanks they are its text."""
    words = []
    for first, last in _spans(hypothesis.tokens, pieces):
        log_probs = hypothesis.log_probs[first:last]
        start, final = hypothesis.frames[first], hypothesis.frames[last - 1]
        confidence = math.exp(sum(log_probs) / len(log_probs))
        # More than one if tokens reach over blanks, none if there is nothing but a word's start.
        for text in text_of_tokens(hypothesis.tokens[first:last], pieces).split():
            words.append(
                Word(
                    text=text,
                    start=round(start * OUTPUT_FRAME_SECONDS, 3),
                    end=round((final + 1) * OUTPUT_FRAME_SECONDS, 3),
                    confidence=round(confidence, 4),
                )
            )
    return words


def _spans(tokens: Sequence[int], pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Where words begin and end among the tokens."""
    starts = [i for i, token in enumerate(tokens) if i == 0 or pieces[token].startswith(WORD_START)]
    return list(pairwise([*starts, len(tokens)]))
