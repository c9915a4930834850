"""Greedy search gives the tokens that the published implementation gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from zipformer.decoding.greedy_search import GreedySearch
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor

pytestmark = pytest.mark.parity


@pytest.fixture
def heads(golden: Path) -> tuple[StatelessPredictor, Joiner, dict[str, Tensor]]:
    data = load_file(golden / "search.safetensors")
    predictor, joiner = StatelessPredictor(29, 48), Joiner(80, 48, 40, 29)
    for module, prefix in ((predictor, "param.decoder."), (joiner, "param.joiner.")):
        own = {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
        module.load_state_dict(own)
    io = {k.removeprefix("io."): v for k, v in data.items() if k.startswith("io.")}
    return predictor.eval(), joiner.eval(), io


@pytest.mark.parametrize("step", [60, 8, 1], ids=["whole", "chunks", "frames"])
def test_greedy_search(
    golden: Path, heads: tuple[StatelessPredictor, Joiner, dict[str, Tensor]], step: int
) -> None:
    predictor, joiner, io = heads
    wanted = json.loads((golden / "search.json").read_text())["greedy"]
    search = GreedySearch(predictor, joiner)
    encoded, lengths = io["encoder_out"], io["encoder_out_lens"]
    state = search.initial_state(len(encoded))
    for start in range(0, encoded.shape[1], step):
        chunk = encoded[:, start : start + step]
        valid = (lengths - start).clamp(0, chunk.shape[1])
        state = search.step(chunk, valid, state)
    assert [h.tokens for h in search.hypotheses(state)] == wanted
