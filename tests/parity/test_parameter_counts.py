"""The models of the three sizes have as many parameters as the published ones."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from zipformer import ZipformerConfig
from zipformer.config import ModelConfig
from zipformer.model import AsrModel

pytestmark = pytest.mark.parity

HEADS = {
    "ctc": ModelConfig(transducer=False, ctc=True),
    "ctc/aed": ModelConfig(transducer=False, ctc=True, attention_decoder=True),
    "transducer": ModelConfig(),
}
# Millions, as published, of the sizes that are not causal.
PUBLISHED = {
    "ctc": {"S": "22.1", "M": "64.3", "L": "147.0"},
    "ctc/aed": {"S": "46.3", "M": "90.0", "L": "174.3"},
    "transducer": {"S": "23.3", "M": "65.6", "L": "148.4"},
}

# Parameters of the published layers that no forward pass reads; ours have no such thing.
DEAD = {"S": 2944, "M": 5760, "L": 9344}
SIZES = {"S": ZipformerConfig.small, "M": ZipformerConfig.medium, "L": ZipformerConfig.large}

NO_DOWNSAMPLING = {
    "downsampling": (1,),
    "input_downsampling": 2,
    "num_layers": 12,
    "dims": 512,
    "unmasked_dims": 256,
    "query_head_dim": 32,
    "pos_head_dim": 4,
    "value_head_dim": 12,
    "num_heads": 8,
    "feedforward_dims": 1536,
    "kernels": 31,
}


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


def millions(count: int) -> str:
    """As published: rounded to two decimals and then to one (65.549 gives 65.55 gives 65.6)."""
    two = (Decimal(count) / 10**6).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return str(two.quantize(Decimal("0.1"), ROUND_HALF_UP))


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("size", SIZES)
def test_totals_with_each_choice_of_heads_are_the_published_ones(size: str, heads: str) -> None:
    with torch.device("meta"):
        model = AsrModel(SIZES[size](causal=False), 500, HEADS[heads])
    total = sum(p.numel() for p in model.parameters())
    assert millions(total + DEAD[size]) == PUBLISHED[heads][size]


def test_the_attention_decoder_has_its_parameters_and_no_others() -> None:
    for size, width in (("S", 256), ("M", 512), ("L", 768)):
        with torch.device("meta"):
            model = AsrModel(SIZES[size](), 500, HEADS["ctc/aed"])
        assert model.attention_decoder is not None
        square, norm = 512 * 512 + 512, 2 * 512
        cross = 2 * square + 2 * (width * 512 + 512)
        forward = 512 * 2048 + 2048 + 2048 * 512 + 512
        wanted = 6 * (4 * square + cross + forward + 3 * norm) + 500 * 512 + 500 * 512 + 500
        assert sum(p.numel() for p in model.attention_decoder.parameters()) == wanted


# Rows of the published ablation table: changes of the medium model, millions of parameters.
ABLATIONS: dict[str, tuple[dict[str, Any], float]] = {
    "base": ({}, 65.6),
    "no_temporal_downsampling": (NO_DOWNSAMPLING, 94.2),
    "two_conformer_blocks": ({"block": "conformer_pair"}, 73.9),
    "no_nonlin_attention": ({"nonlin_attention": False}, 58.7),
    "no_nonlin_attention_no_sharing": (
        {"nonlin_attention": False, "share_attention": False},
        60.9,
    ),
    "no_bypass": ({"bypass": False}, 65.5),
    "layer_norm": ({"norm": "layer_norm"}, 65.6),
    "only_swoosh_r": ({"activation": "swoosh_r"}, 65.5),
    "swish": ({"activation": "swish"}, 65.5),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_are_as_large_as_the_published_ones(name: str) -> None:
    changes, millions = ABLATIONS[name]
    with torch.device("meta"):
        model = AsrModel(ZipformerConfig.medium(causal=False, **changes), 500, ModelConfig())
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.005)
