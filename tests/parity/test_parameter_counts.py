"""The models of the three sizes have as many parameters as the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from zipformer import ZipformerConfig
from zipformer.config import ModelConfig
from zipformer.model import AsrModel

pytestmark = pytest.mark.parity

# Parameters of the published layers that no forward pass reads; ours have no such thing.
DEAD = {"S": 2944, "M": 5760, "L": 9344}
SIZES = {"S": ZipformerConfig.small, "M": ZipformerConfig.medium, "L": ZipformerConfig.large}


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "noncausal"])
@pytest.mark.parametrize("size", ["S", "M", "L"])
def test_parameter_counts(golden: Path, size: str, causal: bool) -> None:
    name = f"{size}-{'causal' if causal else 'noncausal'}"
    counts = json.loads((golden / "param_counts.json").read_text())[name]
    with torch.device("meta"):
        model = AsrModel(SIZES[size](causal=causal), 500, ModelConfig(ctc=True))

    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(model.encoder.frontend) == counts["encoder_embed"]
    stacks = count(model.encoder) - count(model.encoder.frontend)
    assert stacks == counts["encoder"] - DEAD[size]
    assert count(model.predictor) == counts["decoder"]
    assert count(model.joiner) == counts["joiner"]
    assert count(model.simple_am_proj) == counts["simple_am_proj"]
    assert count(model.simple_lm_proj) == counts["simple_lm_proj"]
    assert count(model.ctc_output) == counts["ctc_head"]
    total = count(model) - count(model.ctc_output)
    assert total == counts["transducer_total"] - DEAD[size]
