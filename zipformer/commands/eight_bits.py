"""What weights of 8 bits cost in words, heard in recordings whose text is known."""

from __future__ import annotations

from collections.abc import Sequence

from zipformer.config import ScoringConfig
from zipformer.data.sound_files import read_audio
from zipformer.evaluation.scoring import WordErrors, word_errors
from zipformer.serving.recordings import Recording, Recordings
from zipformer.streaming import Recognizer
from zipformer.tokens.scoring import RATES, unit_of
from zipformer.tokens.scripts import words_and_characters


def word_error_line(exact: Recognizer, rounded: Recognizer, recordings: Recordings) -> str:
    """The error rates of both, as a line for the operator of a server.

    Args:
        exact: With weights of 32 bits.
        rounded: The same with weights of 8 bits.
        recordings: To hear; those without a text do not count.

    Raises:
        ValueError: If a recording cannot be read, naming it.
    """
    known = [one for one in recordings.files if one.text]
    if not known:
        return (
            "8-bit weights: nobody has measured their words here; put recordings with texts beside "
            "the model, or see what export.py --int8 prints"
        )
    before, after = _errors(exact, known), _errors(rounded, known)
    rate = RATES[unit_of(ScoringConfig(), (words_and_characters(one.text) for one in known))]
    said = "words" if rate == "WER" else "characters"
    return (
        f"8-bit weights: {rate} {after.wer:.2f} % at {exact.context}, "
        f"with 32 bits {before.wer:.2f} % "
        f"({before.words} {said} in {len(known)} recordings)"
    )


def _errors(recognizer: Recognizer, recordings: Sequence[Recording]) -> WordErrors:
    total = WordErrors()
    for one in recordings:
        stream = recognizer.open()
        stream.push(read_audio(one.path, recognizer.sample_rate))
        total += word_errors(
            words_and_characters(one.text), words_and_characters(stream.close().text)
        )
    return total
