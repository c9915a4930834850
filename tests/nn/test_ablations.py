"""What ablations of the Zipformer leave out is gone, and what they replace is replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nn.small_encoder import ABLATIONS, TINY, expressive_encoder

from zipformer import Context, Encoder, ZipformerConfig, ops
from zipformer.model import build_encoder

MODULES = [f"{name}{i}" for name in ("self_attn", "conv_module") for i in (1, 2)]
MODULES += [*(f"feed_forward{i}" for i in (1, 2, 3)), "nonlin_attention"]
FEATURES, LENGTHS = torch.randn(2, 150, 80), torch.tensor([150, 90])


def names(config: ZipformerConfig) -> set[str]:
    return {n for n, _ in Encoder(config).named_parameters()}


def refuse(*_: object) -> None:
    raise AssertionError("it should not have been called")


def test_the_published_model_has_no_parameters_of_ablations() -> None:
    assert not any(
        part in n for n in names(TINY) for part in ("weights2", "downsample_input", "1.out_norm")
    )


@pytest.mark.parametrize(
    "changes,gone,new",
    [
        ({"nonlin_attention": False}, ["nonlin_attention"], []),
        ({"share_attention": False}, [], ["self_attn_weights2"]),
        ({"bypass": False}, ["bypass", "bypass_mid"], []),
        ({"norm": "layer_norm"}, ["norm.log_scale", "out_norm.log_scale"], ["norm.weight"]),
        ({"input_downsampling": 2}, ["downsample_output"], ["downsample_input"]),
        (
            {"block": "conformer_pair"},
            ["nonlin_attention", "self_attn2", "conv_module2", "feed_forward3", "bypass_mid"],
            ["layers.1"],
        ),
        ({"module_norms": True}, [], [f"{module}.out_norm.log_scale" for module in MODULES]),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_parameters_come_and_go(
    changes: dict[str, object], gone: list[str], new: list[str]
) -> None:
    before, after = names(TINY), names(replace(TINY, **changes))  # type: ignore[arg-type]
    for part in gone:
        assert any(f".{part}." in f".{n}." for n in before)
        assert not any(f".{part}." in f".{n}." for n in after), part
    for part in new:
        assert any(f".{part}." in f".{n}." for n in after - before), part


@torch.no_grad()
def test_activations_are_replaced_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "swoosh_l", refuse)
    with pytest.raises(AssertionError):
        Encoder(TINY).eval()(FEATURES, LENGTHS)
    Encoder(replace(TINY, activation="swoosh_r")).eval()(FEATURES, LENGTHS)
    monkeypatch.setattr(ops, "swoosh_r", refuse)
    with pytest.raises(AssertionError):
        Encoder(replace(TINY, activation="swoosh_r")).eval()(FEATURES, LENGTHS)
    Encoder(replace(TINY, activation="swish")).eval()(FEATURES, LENGTHS)
    blocks = replace(TINY, block="conformer_pair", activation="swish")
    Encoder(blocks).eval()(FEATURES, LENGTHS)


@torch.no_grad()
def test_a_bypass_that_is_gone_passes_everything_on() -> None:
    """As if its scale were one."""
    config = replace(TINY, bypass=False)
    without = expressive_encoder(config)
    all_on = Encoder(TINY).eval()
    missing, unexpected = all_on.load_state_dict(without.state_dict(), strict=False)
    assert unexpected == [] and all("bypass" in name for name in missing)
    for name in missing:
        all_on.get_parameter(name).fill_(1.0)
    wanted, _ = all_on(FEATURES, LENGTHS)
    assert (without(FEATURES, LENGTHS)[0] - wanted).abs().max() <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("block", ["zipformer", "conformer_pair"])
def test_how_loud_a_module_is_does_not_matter_where_modules_end_with_a_norm(block: str) -> None:
    outputs = []
    for module_norms in (True, False):
        torch.manual_seed(2)
        encoder = Encoder(replace(TINY, block=block, module_norms=module_norms)).eval()
        before, _ = encoder(FEATURES, LENGTHS)
        for name, p in encoder.named_parameters():
            if ".out_proj." in name:
                p.mul_(4.0)
        after, _ = encoder(FEATURES, LENGTHS)
        outputs.append(((after - before).norm() / before.norm()).item())
    assert outputs[0] < 0.02 < outputs[1]


@torch.no_grad()
def test_second_weights_decide_about_the_second_self_attention() -> None:
    encoder = expressive_encoder(ABLATIONS["no_sharing"])
    before, _ = encoder(FEATURES, LENGTHS)
    for name, p in encoder.named_parameters():
        if "self_attn_weights2.in_proj" in name:
            p.mul_(-1.5)
    after, _ = encoder(FEATURES, LENGTHS)
    assert (after - before).abs().mean() > 1e-3


def test_contexts_without_temporal_downsampling_are_multiples_of_an_output_frame() -> None:
    config = ABLATIONS["no_downsampling"]
    assert (config.context_unit, config.min_left) == (4, 12)
    assert replace(config, input_downsampling=1).context_unit == 4  # 50 Hz frames are half outputs
    out, lengths = build_encoder(config).eval()(FEATURES, LENGTHS, Context(12, 24, 8))
    assert lengths.tolist() == [36, 21] and out.shape == (2, 36, 24)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"input_downsampling": 4}, "input_downsampling must be 1 .50 Hz. or 2"),
        (
            {"block": "conformer_pair", "share_attention": False},
            "remove encoder.nonlin_attention and",
        ),
        (
            {"block": "conformer_pair", "nonlin_attention": False},
            "remove encoder.nonlin_attention and",
        ),
    ],
    ids=str,
)
def test_choices_that_contradict_each_other_are_named(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)  # type: ignore[arg-type]
