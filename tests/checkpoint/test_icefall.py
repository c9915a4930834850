"""Published parameters load by name, and what does not fit is named."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nn.small_encoder import TINY
from published_names import published_name
from safetensors.torch import save_file
from torch import Tensor, nn

from zipformer import Encoder, Transducer, load_icefall
from zipformer.config import ModelConfig
from zipformer.model import AsrModel


def model(seed: int = 0) -> AsrModel:
    torch.manual_seed(seed)
    return AsrModel(TINY, 11, ModelConfig(predictor_dim=16, joiner_dim=16, ctc=True))


@pytest.fixture
def published() -> dict[str, Tensor]:
    state = {published_name(n, TINY): v for n, v in model(seed=1).state_dict().items()}
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
    published["text_decoder.x"] = torch.zeros(1)
    published["encoder_embed.out.bias"] = torch.zeros(3)
    with pytest.raises(ValueError) as error:
        load_icefall(published, module)
    for part in ("downsample_output.bias", "text_decoder.x", r"frontend.out.bias (3,)"):
        assert part in str(error.value)
    assert all(torch.equal(v, before[n]) for n, v in module.state_dict().items())


@pytest.mark.parametrize("target", [AsrModel, Transducer, Encoder])
def test_an_attention_decoder_is_left(published: dict[str, Tensor], target: type) -> None:
    published["attention_decoder.decoder.layers.0.linear.weight"] = torch.zeros(2, 2)
    modules = {
        AsrModel: model(),
        Transducer: Transducer(TINY, 11, predictor_dim=16, joiner_dim=16),
        Encoder: Encoder(TINY),
    }
    encoder = load_icefall(published, modules[target])
    assert same(encoder if target is Encoder else encoder.encoder, model(seed=1).encoder)


def test_an_attention_decoder_loads_where_there_is_one() -> None:
    heads = ModelConfig(
        transducer=False,
        ctc=True,
        attention_decoder=True,
        aed_layers=1,
        aed_dim=8,
        aed_heads=2,
        aed_feedforward_dim=8,
    )
    source, target = AsrModel(TINY, 11, heads), AsrModel(TINY, 11, heads)
    weights = {published_name(n, TINY): v for n, v in source.state_dict().items()}
    assert "attention_decoder.decoder.layers.0.src_attn.linear_k.weight" in weights
    assert not same(source, target)
    assert same(load_icefall(weights, target), source)
    weights.pop("attention_decoder.decoder.output_layer.bias")
    with pytest.raises(ValueError, match="missing: attention_decoder.output_layer.bias"):
        load_icefall(weights, target)


def test_our_own_names_are_not_taken_for_published_ones() -> None:
    with pytest.raises(ValueError, match="unknown: encoder.frontend.conv1.weight"):
        load_icefall(model(seed=1).state_dict(), model())


def test_what_a_training_checkpoint_holds_besides_weights_is_let_through(
    published: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "epoch-3.pt"
    settings = {"exp_dir": Path("/exp"), "torch": torch.__version__, "best": float("inf")}
    torch.save({"model": published, "optimizer": {"state": {0: torch.ones(2)}}, **settings}, path)
    assert same(load_icefall(path, model()), model(seed=1))


class Harmful:
    """What would run a command where it is loaded without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_could_run_code_is_refused_by_the_name_of_it(
    published: dict[str, Tensor], tmp_path: Path, zipped: bool
) -> None:
    path, trace = tmp_path / "epoch-3.pt", tmp_path / "trace"
    content = {"model": published, "exp_dir": Path("/exp"), "params": Harmful(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"epoch-3\.pt is refused: it names posix\.system,"):
        load_icefall(path, model())
    assert not trace.exists()


@pytest.mark.parametrize("name", ["half.pt", "half.safetensors"])
def test_a_damaged_file_is_named(published: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save({"model": published}, path)
    else:
        save_file({n: v.clone() for n, v in published.items()}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        load_icefall(path, model())
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        load_icefall(tmp_path / "nowhere.pt", model())


def test_a_file_with_something_else_for_a_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "epoch-3.pt"
    torch.save({"model": ["weights"]}, path)
    with pytest.raises(ValueError, match=r"epoch-3\.pt holds a list under 'model'"):
        load_icefall(path, model())


def test_a_bypass_scale_that_is_alive_is_needed(published: dict[str, Tensor]) -> None:
    published.pop("encoder.encoders.0.layers.0.bypass.bypass_scale")
    with pytest.raises(ValueError, match="bypass.bypass_scale"):
        load_icefall(published, model())


def test_a_causal_checkpoint_does_not_fit_a_noncausal_model(published: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="causal = true or false"):
        load_icefall(published, Encoder(replace(TINY, causal=False)))
