"""Modified beam search gives the tokens that the published implementation gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from parity.golden_heads import golden_heads

from zipformer.search.beam_search import ModifiedBeamSearch

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("step", [60, 8, 1], ids=["whole", "chunks", "frames"])
def test_modified_beam_search(golden: Path, step: int) -> None:
    predictor, joiner, encoded, lengths = golden_heads(golden)
    wanted = json.loads((golden / "search.json").read_text())["modified_beam_search_beam4"]
    search = ModifiedBeamSearch(predictor, joiner, beam=4)
    state = search.initial_state(len(encoded))
    for start in range(0, encoded.shape[1], step):
        chunk = encoded[:, start : start + step]
        valid = (lengths - start).clamp(0, chunk.shape[1])
        state = search.step(chunk, valid, state)
    assert [h.tokens for h in search.hypotheses(state)] == wanted
