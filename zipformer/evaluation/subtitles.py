"""Words with times as SubRip subtitles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from zipformer.search.words import Word, text_of

MAX_CUE_SECONDS = 6.0
MAX_CUE_CHARACTERS = 70
MAX_PAUSE = 1.0  # seconds without a word after which a new subtitle begins
MIN_CUE_SECONDS = 0.8  # shorter is not readable


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
            text_of(cue),
            "",
        ]
    return "\n".join(lines)


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
