"""Published parameters load by name, and what does not fit is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nn.small_encoder import TINY
from safetensors.torch import save_file
from torch import Tensor, nn

from zipformer import Encoder, Transducer, load_icefall
from zipformer.config import ModelConfig
from zipformer.model import AsrModel


def published_name(name: str) -> str:
    """Our name of a parameter in a whole model -> the published one."""
    parts = name.split(".")
    if parts[0] == "predictor":
        return ".".join(["decoder", *parts[1:]])
    if parts[:2] == ["encoder", "frontend"]:
        index = {"conv1": "conv.0", "conv2": "conv.4", "conv3": "conv.7"}
        return ".".join(["encoder_embed", index.get(parts[2], parts[2]), *parts[3:]])
    if parts[:2] == ["encoder", "stacks"]:
        i, rest = parts[2], parts[3:]
        inner = ["encoder"] if rest[0] == "layers" and TINY.downsampling[int(i)] > 1 else []
        return ".".join(["encoder", "encoders", i, *inner, *rest])
    return name


def model(seed: int = 0) -> AsrModel:
    torch.manual_seed(seed)
    return AsrModel(TINY, 11, ModelConfig(predictor_dim=16, joiner_dim=16, ctc=True))


@pytest.fixture
def published() -> dict[str, Tensor]:
    state = {published_name(n): v for n, v in model(seed=1).state_dict().items()}
    state["encoder.encoders.0.layers.0.bypass_scale"] = torch.zeros(16)
    state["encoder.encoders.1.encoder.layers.0.bypass_scale"] = torch.zeros(24)
    return state


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_a_whole_model_loads(published: dict[str, Tensor]) -> None:
    assert not same(model(), model(seed=1))
    assert same(load_icefall(published, model()), model(seed=1))


def test_a_bare_encoder_takes_its_part(published: dict[str, Tensor]) -> None:
    assert same(load_icefall(published, Encoder(TINY)), model(seed=1).encoder)


def test_a_transducer_leaves_what_only_training_needs(published: dict[str, Tensor]) -> None:
    wanted = model(seed=1)
    found = load_icefall(published, Transducer(TINY, 11, predictor_dim=16, joiner_dim=16))
    for part in ("encoder", "predictor", "joiner"):
        assert same(getattr(found, part), getattr(wanted, part))


def test_files_load(published: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": published, "epoch": 3}, tmp_path / "epoch-3.pt")
    assert same(load_icefall(tmp_path / "epoch-3.pt", model()), model(seed=1))
    save_file({n: v.clone() for n, v in published.items()}, tmp_path / "model.safetensors")
    assert same(load_icefall(str(tmp_path / "model.safetensors"), model()), model(seed=1))


@pytest.mark.parametrize("target", ["model", "encoder"])
def test_missing_unknown_and_misshapen_are_named(published: dict[str, Tensor], target: str) -> None:
    module = model() if target == "model" else Encoder(TINY)
    before = {n: v.clone() for n, v in module.state_dict().items()}
    published.pop("encoder.downsample_output.bias")
    published["attention_decoder.x"] = torch.zeros(1)
    published["encoder_embed.out.bias"] = torch.zeros(3)
    with pytest.raises(ValueError) as error:
        load_icefall(published, module)
    for part in ("downsample_output.bias", "attention_decoder.x", r"frontend.out.bias (3,)"):
        assert part in str(error.value)
    assert all(torch.equal(v, before[n]) for n, v in module.state_dict().items())


def test_a_bypass_scale_that_is_alive_is_needed(published: dict[str, Tensor]) -> None:
    published.pop("encoder.encoders.0.layers.0.bypass.bypass_scale")
    with pytest.raises(ValueError, match="bypass.bypass_scale"):
        load_icefall(published, model())


def test_a_causal_checkpoint_does_not_fit_a_noncausal_model(published: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="causal = true or false"):
        load_icefall(published, Encoder(replace(TINY, causal=False)))
