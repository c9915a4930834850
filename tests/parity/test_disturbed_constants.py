"""The parity tests see every constant: disturb one, and the numbers no longer agree.

A copy of the package with one constant changed is imported in place of the real one and compared
with the reference encoder. The undisturbed copy agrees, so the disagreement is the constant's.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerances import ENCODER

pytestmark = pytest.mark.parity

PACKAGE = Path(__file__).parents[2] / "zipformer"

CONSTANTS = {
    "nothing": ("", "", ""),
    "swoosh_slope": ("ops/swoosh.py", "SLOPE = 0.08", "SLOPE = 0.081"),
    "swoosh_l_shift": ("ops/swoosh.py", "LEFT = (4.0, 0.035)", "LEFT = (4.01, 0.035)"),
    "swoosh_l_offset": ("ops/swoosh.py", "LEFT = (4.0, 0.035)", "LEFT = (4.0, 0.036)"),
    "swoosh_r_shift": ("ops/swoosh.py", "RIGHT = (1.0,", "RIGHT = (1.01,"),
    "swoosh_r_offset": ("ops/swoosh.py", "0.313261687", "0.3135"),
    "position_compression": ("nn/positions.py", "math.sqrt(self.dim)", "math.sqrt(self.dim + 1)"),
    "position_angle": ("nn/positions.py", "2.0 * math.pi / self.dim", "2.01 * math.pi / self.dim"),
    "position_sign": (
        "nn/positions.py",
        "compression * offset.sign()",
        "-compression * offset.sign()",
    ),
    "nonlin_head": (
        "nn/zipformer/layer.py",
        "first = weights[:, :, 0]",
        "first = weights[:, :, 1]",
    ),
    "nonlin_gate": ("nn/zipformer/attention.py", "gate = torch.tanh", "gate = torch.sigmoid"),
    "edge_scale": ("nn/zipformer/convolution.py", "1.0 + F.pad", "1.001 + F.pad"),
    "frontend_reach": (
        "nn/frontend.py",
        "[torch.zeros_like(before)]",
        "[torch.ones_like(before)]",
    ),
    "right_context": ("nn/layout.py", "ahead, right = right, 0", "ahead, right = right // 2, 0"),
    "left_context": ("nn/layout.py", "else context.left // 2", "else context.left // 2 - 8"),
    "stream_warm_up": ("masks.py", "distance <= before", "distance < before"),
    "repeated_last_frame": ("nn/downsample.py", "last = (lengths - 1)", "last = (lengths - 2)"),
    "output_width": ("nn/zipformer/encoder.py", "x[..., width:]", "x[..., : x.shape[-1] - width]"),
}


@pytest.fixture
def reimport() -> Iterator[None]:
    """Whatever a test imports as zipformer is forgotten again."""
    saved = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "zipformer"}
    path = list(sys.path)
    for name in saved:
        del sys.modules[name]
    yield
    for name in [n for n in sys.modules if n.split(".")[0] == "zipformer"]:
        del sys.modules[name]
    sys.modules.update(saved)
    sys.path[:] = path


@torch.no_grad()
def largest_error(golden: Path) -> float:
    """Of full context, a chunk mask, a masked and a windowed right context."""
    package = importlib.import_module("zipformer")
    data = load_file(golden / "encoder_causal.safetensors")
    sizes = dict(
        num_layers=(1, 2, 1, 1, 1, 1),
        dims=(32, 48, 64, 80, 64, 48),
        unmasked_dims=32,
        query_head_dim=8,
        pos_head_dim=4,
        value_head_dim=6,
        num_heads=(2, 2, 2, 4, 2, 2),
        feedforward_dims=(48, 64, 96, 112, 96, 64),
        pos_dim=24,
    )
    params = {k.removeprefix("param."): v for k, v in data.items() if k.startswith("param.")}
    encoder = package.load_icefall(params, package.Encoder(package.ZipformerConfig(**sizes))).eval()
    features, lengths = data["io.features"], data["io.feature_lens"]
    errors = []
    for key, context, mode, batch in [
        ("full", package.Context.full(), "windowed", 2),
        ("chunk16_left64", package.Context(32, 128), "masked", 2),
        ("masked_chunk16_left64_right16", package.Context(32, 128, 32), "masked", 2),
        ("window_chunk16_left64_right16", package.Context(32, 128, 32), "windowed", 1),
    ]:
        out, out_lengths = encoder(features, lengths, context, mode)
        wanted = data[f"io.{key}.out"]
        for i in range(batch):
            n = min(int(out_lengths[i]), wanted.shape[1])
            errors.append(float((out[i, :n] - wanted[i, :n]).abs().max()))
    return max(errors)


@pytest.mark.parametrize("name", CONSTANTS)
def test_disturbing_a_constant_breaks_parity(
    name: str, golden: Path, tmp_path: Path, reimport: None
) -> None:
    copy = tmp_path / "zipformer"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    file, constant, disturbed = CONSTANTS[name]
    if file:
        text = (copy / file).read_text()
        assert constant in text
        (copy / file).write_text(text.replace(constant, disturbed))
    sys.path.insert(0, str(tmp_path))
    error = largest_error(golden)
    if file:
        assert error > ENCODER
    else:
        assert error <= ENCODER
