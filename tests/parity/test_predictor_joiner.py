"""Predictor and joiner give the published numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerances import ROUNDING
from torch import Tensor, nn

from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor

pytestmark = pytest.mark.parity


def fill(module: nn.Module, data: dict[str, Tensor], prefix: str) -> None:
    found = {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
    module.load_state_dict(found)
    module.eval()


@torch.no_grad()
def test_predictor_and_joiner(golden: Path) -> None:
    data = load_file(golden / "search.safetensors")
    predictor, joiner = StatelessPredictor(29, 48), Joiner(80, 48, 40, 29)
    fill(predictor, data, "param.decoder.")
    fill(joiner, data, "param.joiner.")
    out = predictor(data["io.decoder_in"])
    assert (out - data["io.decoder_out"]).abs().max() <= ROUNDING
    tokens = data["io.decoder_in"]
    last = predictor(tokens[:, 3:5], pad=False)
    assert (last - data["io.decoder_out"][:, 4:5]).abs().max() <= ROUNDING
    logits = joiner(data["io.encoder_out"][:, : out.shape[1]], out)
    assert (logits - data["io.joiner_out"]).abs().max() <= ROUNDING
    projected = joiner(
        joiner.encoder_proj(data["io.encoder_out"][:, : out.shape[1]]),
        joiner.decoder_proj(out),
        project=False,
    )
    assert (projected - logits).abs().max() <= ROUNDING
