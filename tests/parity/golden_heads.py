"""The predictor and joiner for which the published searches were recorded, and their input."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor


def golden_heads(golden: Path) -> tuple[StatelessPredictor, Joiner, Tensor, Tensor]:
    """Predictor, joiner, (B, T, D) encoder outputs and their (B,) lengths."""
    data = load_file(golden / "search.safetensors")
    predictor, joiner = StatelessPredictor(29, 48), Joiner(80, 48, 40, 29)
    for module, prefix in ((predictor, "param.decoder."), (joiner, "param.joiner.")):
        own = {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
        module.load_state_dict(own)
    lengths = data["io.encoder_out_lens"]
    return predictor.eval(), joiner.eval(), data["io.encoder_out"], lengths
