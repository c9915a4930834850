"""Made-up results."""

from __future__ import annotations

from zipformer.context import Context
from zipformer.evaluation.results import Mode, Result, is_streamable
from zipformer.evaluation.scoring import Utterance, total_errors

UTTERANCES = [
    Utterance.of_texts("utt-b", "one two three", "one too three four"),
    Utterance.of_texts("utt-a", "nine five", "nine"),
]


def example(
    context: str = "32/256/64",
    mode: Mode = "windowed",
    name: str = "clean",
    wer: float | None = None,
    model: str = "epoch30-avg9",
    words: int = 5,
) -> Result:
    c, errors = Context.parse(context), total_errors(UTTERANCES)
    return Result(
        set=name,
        method="greedy",
        context=context,
        right_mode=mode,
        streamable=is_streamable(c, mode),
        latency_ms=c.latency_ms,
        wer=errors.wer if wer is None else wer,
        insertions=errors.insertions,
        deletions=errors.deletions,
        substitutions=errors.substitutions,
        words=words,
        utterances=2,
        audio_seconds=3.5,
        compute_seconds=0.7,
        rtf=0.2,
        device="cpu",
        model=model,
        checkpoint="epoch-30.pt",
        train_steps=1200,
        git_commit="abc123",
        torch_version="2.13.0",
    )
