"""When the words were heard: tokens with times put together to words, and words to subtitles.

A transducer tells when it emitted a token, not where a sound begins and ends: a word is said to
last from the frame of its first token to the end of the frame of its last one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from zipformer.decoding.pieces import WORD_START, text_of
from zipformer.decoding.protocol import SECONDS_PER_FRAME, Hypothesis

MAX_CUE_SECONDS = 6.0
MAX_CUE_CHARACTERS = 70
MAX_PAUSE = 1.0  # seconds without a word after which a new subtitle begins
MIN_CUE_SECONDS = 0.8  # shorter is not readable


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
        for text in text_of(hypothesis.tokens[first:last], pieces).split():
            words.append(
                Word(
                    text=text,
                    start=round(start * SECONDS_PER_FRAME, 3),
                    end=round((final + 1) * SECONDS_PER_FRAME, 3),
                    confidence=round(confidence, 4),
                )
            )
    return words


def to_srt(words: Sequence[Word]) -> str:
    """Words as SubRip subtitles (.srt)."""
    cues = list(_cues(words))
    lines = []
    for number, cue in enumerate(cues, start=1):
        end = max(cue[-1].end, cue[0].start + MIN_CUE_SECONDS)
        if number < len(cues):
            end = min(end, max(cues[number][0].start, cue[-1].end))
        lines += [
            str(number),
            f"{_srt_time(cue[0].start)} --> {_srt_time(end)}",
            " ".join(word.text for word in cue),
            "",
        ]
    return "\n".join(lines)


def _spans(tokens: Sequence[int], pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Where words begin and end among the tokens."""
    starts = [i for i, token in enumerate(tokens) if i == 0 or pieces[token].startswith(WORD_START)]
    return list(pairwise([*starts, len(tokens)]))


def _cues(words: Iterable[Word]) -> Iterator[list[Word]]:
    """Words in groups short enough for a subtitle, divided at pauses."""
    cue: list[Word] = []
    for word in words:
        if cue and not _fits(cue, word):
            yield cue
            cue = []
        cue.append(word)
    if cue:
        yield cue


def _fits(cue: Sequence[Word], word: Word) -> bool:
    characters = sum(len(w.text) + 1 for w in cue) + len(word.text)
    return (
        word.start - cue[-1].end <= MAX_PAUSE
        and word.end - cue[0].start <= MAX_CUE_SECONDS
        and characters <= MAX_CUE_CHARACTERS
    )


def _srt_time(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"
