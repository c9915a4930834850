"""What PyTorch hears: whole utterances, and streams that sherpa-onnx would hear in the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from kaldialign import edit_distance
from trained_digits import trained

from zipformer.context import Context
from zipformer.data.features import extract
from zipformer.search import Search, make_searcher
from zipformer.streaming import Recognizer, StreamResult

# By their names in sherpa-onnx.
SEARCHES = {
    "greedy_search": Search("greedy"),
    "modified_beam_search": Search("modified_beam_search"),
}


@torch.no_grad()
def scored_words(samples: np.ndarray, context: Context, method: str = "greedy_search") -> str:
    """What decode.py scores by default: (N,) samples at once, windowed."""
    model, tokens = trained().model, trained().tokenizer.tokens
    features = extract(samples)
    out, lengths = model.encoder(features[None], torch.tensor([len(features)]), context)
    found = make_searcher(model, tokens, SEARCHES[method]).decode(out, lengths)[0]
    return trained().tokenizer.decode(found.tokens)


def padded_results(
    audio: Sequence[np.ndarray], context: Context, method: str = "greedy_search"
) -> list[StreamResult]:
    """What decode.py scores with --right-mode padded: silence follows, and there is no flush."""
    recognizer = Recognizer.of(trained(), context, SEARCHES[method])
    silence = np.zeros(160 * recognizer.step_frames, np.float32)
    streams = []
    for samples in audio:
        streams.append(recognizer.open())
        recognizer.accept(streams[-1], np.concatenate([samples, silence]))
    return recognizer.close(streams, flush=False)


def check_but_for_the_end(padded: Sequence[str], scored: Sequence[str]) -> None:
    """What is heard with silence behind the audio is what is scored, but for a word of few."""
    pairs = [(a.split(), b.split()) for a, b in zip(padded, scored, strict=True) if a != b]
    assert len(pairs) <= max(1, len(scored) // 25), pairs
    assert all(edit_distance(*pair)["total"] == 1 for pair in pairs), pairs
