#!/usr/bin/env python3
"""What phrases cost a beam search, as a ratio within one run, and how long many take to load.

    python scripts/dev/bench_biasing.py [--phrases 1000] [--json] [--quick]

The search alone: 32 streams, 8 output frames a step, heads of size S (512 wide, 500 tokens) with
random weights that say a token in every fourth frame. Half of the phrases are cut from what such a
search hears, the others are random. Their score is so small that both searches hear the same, and
do the same work but for the phrases. A round times both searches in turns, on audio that is new to
them; the ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import measure
from zipformer.biasing import Hotwords, Phrase
from zipformer.biasing.graph import PhraseGraph
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor
from zipformer.search.beam_search import ModifiedBeamSearch
from zipformer.search.biased_search import BiasedSearch
from zipformer.search.ctc_prefix_search import CtcPrefixBeamSearch

VOCABULARY, WIDTH, ENCODER = 500, 512, 256
STREAMS, STEP, BEAM = 32, 8, 4
SPEAKS = 0.25  # of the frames
SCORE = 1e-4
Search = Callable[[Hotwords | None], BiasedSearch]


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("--phrases", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=10, help="of 8 frames, in a round")
    parser.add_argument("--many", type=int, default=100_000, help="phrases to load")
    given = parser.parse_args()
    measure.start(given)
    encoded = torch.randn(STREAMS, STEP * given.steps, ENCODER, device=given.device)
    searches = {"modified beam": transducer(encoded), "CTC prefix beam": ctc(encoded)}
    cases = []
    for name, make in list(searches.items())[: 1 if given.quick else None]:
        plain, rounds = make(None), 2 if given.quick else given.rounds
        phrases = phrases_for(plain, encoded, given.phrases)
        cases.append(compared(name, (plain, make(phrases)), encoded, rounds))
    seconds = loading(50 if given.quick else given.many)
    if given.json:
        print(json.dumps({"phrases": given.phrases, "cases": cases, "load_seconds": seconds}))
        return
    print(f"{STREAMS} streams, beam {BEAM}, {given.phrases} phrases, on {given.device}")
    for case in cases:
        print("{name}: {ms} ms a step without, {ms_with} ms with: ratio {ratio}".format(**case))
    print(f"the graph of {given.many} phrases is built in {seconds} s")


def transducer(encoded: Tensor) -> Search:
    predictor = StatelessPredictor(VOCABULARY, WIDTH).to(encoded.device).eval()
    joiner = Joiner(ENCODER, WIDTH, WIDTH, VOCABULARY).to(encoded.device).eval()
    with torch.no_grad():
        nn.init.normal_(joiner.output_linear.weight, std=0.3)
        before = torch.zeros(1, WIDTH, device=encoded.device)
        logits = joiner(joiner.project_encoder(encoded), before, project=False)
        joiner.output_linear.bias[0] += calm(logits)
    return lambda phrases: ModifiedBeamSearch(predictor, joiner, beam=BEAM, hotwords=phrases)


def ctc(encoded: Tensor) -> Search:
    layer = nn.Linear(ENCODER, VOCABULARY).to(encoded.device)
    with torch.no_grad():
        nn.init.normal_(layer.weight, std=0.3)
        layer.bias[0] += calm(layer(encoded))
    head = nn.Sequential(layer, nn.LogSoftmax(dim=-1)).eval()
    return lambda phrases: CtcPrefixBeamSearch(head, beam=BEAM, hotwords=phrases)


def calm(logits: Tensor) -> float:
    """What the blank lacks to win in all but ``SPEAKS`` of the frames."""
    ahead = (logits[..., 1:].amax(-1) - logits[..., 0]).flatten()
    return float(ahead.quantile(1 - SPEAKS))


def phrases_for(search: BiasedSearch, encoded: Tensor, count: int) -> Hotwords:
    """Of 2 to 6 tokens, every second one heard."""
    lengths = torch.full((len(encoded),), encoded.shape[1])
    heard = [h.tokens for h in search.decode(encoded, lengths)]
    found = {}
    for i in range(count):
        size, said = int(torch.randint(2, 7, ())), heard[i % len(heard)]
        start = int(torch.randint(0, max(1, len(said) - size), ()))
        tokens = tuple(said[start : start + size])
        if i % 2 or len(tokens) < 2:
            tokens = tuple(torch.randint(1, VOCABULARY, (size,)).tolist())
        found[tokens] = Phrase(str(tokens), tokens, SCORE)
    return Hotwords("bench", tuple(found.values()), VOCABULARY)


def compared(
    name: str, searches: tuple[BiasedSearch, BiasedSearch], encoded: Tensor, rounds: int
) -> dict[str, str | float]:
    """Milliseconds of a step without and with phrases."""
    for search in searches:  # to warm up; the graph is built, and rows of the first nodes
        run(search, encoded)
    times = []
    for _ in range(rounds):
        new = torch.randn_like(encoded)
        times.append([run(search, new) for search in searches])
    steps = encoded.shape[1] // STEP
    without, with_phrases = (
        1e3 * statistics.median(each) / steps for each in zip(*times, strict=True)
    )
    ratio = statistics.median(b / a for a, b in times)
    columns = {"ms": without, "ms_with": with_phrases, "ratio": ratio}
    return {"name": name} | {key: round(value, 3) for key, value in columns.items()}


@torch.inference_mode()
def run(search: BiasedSearch, encoded: Tensor) -> float:
    """Seconds for all steps of a round."""
    lengths = torch.full((len(encoded),), STEP, device=encoded.device)
    state = search.initial_state(len(encoded))
    begin = time.perf_counter()
    for part in encoded.split(STEP, dim=1):
        _, state = search.take(search.step(part, lengths, state))
    return time.perf_counter() - begin


def loading(count: int) -> float:
    """Seconds to build the graph of random phrases."""
    phrases = [(tokens, 1.5) for tokens in torch.randint(1, VOCABULARY, (count, 6)).tolist()]
    begin = time.perf_counter()
    PhraseGraph.of(phrases, VOCABULARY)
    return round(time.perf_counter() - begin, 3)


if __name__ == "__main__":
    main()
