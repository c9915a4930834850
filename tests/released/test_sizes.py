"""Architectures are found in weights, compared with what is stored, and never guessed silently."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from released.official import KINDS, SETTINGS, weights
from torch import Tensor

from zipformer.config import ModelConfig
from zipformer.model import AsrModel
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.released.names import rename_published
from zipformer.released.sizes import architecture_of


def renamed(kind: str = "streaming") -> dict[str, Tensor]:
    return rename_published(weights(kind))[0]


@pytest.mark.parametrize("size", ["small", "medium", "large", "xlarge"])
@pytest.mark.parametrize("causal", [True, False])
def test_published_sizes_are_recognised(size: str, causal: bool) -> None:
    encoder = getattr(ZipformerConfig, size)(causal=causal)
    model = ModelConfig(transducer=size != "xlarge", ctc=size != "small", context_size=1)
    with torch.device("meta"):
        network = AsrModel(encoder, 500, model)
    found = architecture_of(network.state_dict(), {})
    assert found.encoder == encoder
    assert found.vocab_size == 500
    assert (found.model.heads, found.model.context_size) == (
        model.heads,
        1 if model.transducer else 2,
    )


def test_an_attention_decoder_is_measured_too() -> None:
    model = ModelConfig(attention_decoder=True, aed_layers=2, aed_dim=32, aed_feedforward_dim=48)
    with torch.device("meta"):
        network = AsrModel(ZipformerConfig.small(), 30, model)
    found = architecture_of(network.state_dict(), {"attention_decoder_num_heads": 4})
    assert (found.model.aed_layers, found.model.aed_dim) == (2, 32)
    assert (found.model.aed_feedforward_dim, found.model.aed_heads) == (48, 4)
    assert "8 heads" in architecture_of(network.state_dict(), {}).assumed[0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_weights_tell_is_enough(kind: str) -> None:
    found = architecture_of(renamed(kind), {})
    assert found.encoder.dims == (24, 32, 40, 48, 40, 32)
    assert found.encoder.num_layers == {"streaming": (2, 1, 1, 2, 1, 1)}.get(
        kind, (1, 1, 2, 1, 1, 1)
    )
    assert found.encoder.num_heads == (2, 1, 2, 4, 2, 1)
    assert (found.encoder.query_head_dim[0], found.encoder.value_head_dim[0]) == (12, 8)
    assert (found.encoder.pos_dim, found.encoder.kernels[2]) == (24, 15)
    assert found.encoder.causal is (kind == "streaming")
    assert found.model == ModelConfig(predictor_dim=48, joiner_dim=40, ctc=True)


def test_stored_settings_say_what_weights_do_not() -> None:
    found = architecture_of(renamed(), SETTINGS)
    assert found.encoder.unmasked_dims[0] == 20
    assert (found.context.chunk, found.context.left) == ((32, 64, -1), (128, 256))
    assert found.assumed == ()
    assumed = architecture_of(renamed(), {})
    assert assumed.context.chunk == (32, 64, 128, -1)
    assert "chunks of 32, 64, 128, inf frames" in assumed.assumed[0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder_dim": "24,32,40,48,40,40"}, "stores encoder_dim = 24,32,40,48,40,40, but"),
        ({"num_heads": "2,1,2,4,2"}, "stores num_heads = 2,1,2,4,2, but its encoder has 6 stacks"),
        ({"num_heads": "many"}, "stores num_heads = 'many': no list of numbers"),
        ({"pos_head_dim": "3"}, "does not divide into heads with 3 numbers"),
        ({"feature_dim": 40}, "stores feature_dim = 40, but its frontend has weights for"),
        ({"sample_rate": "fast"}, "sample_rate = 'fast', which is no number"),
    ],
)
def test_settings_that_contradict_the_weights(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        architecture_of(renamed(), SETTINGS | changed)


def without(part: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda found: {name: value for name, value in found.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("encoder."), "no Zipformer"),
        (without("self_attn_weights"), "there is no encoder.stacks.0.layers.0.self_attn_weights"),
        (lambda w: without("joiner")(without("ctc")(w)), "nothing would recognise words"),
        (
            lambda w: w | {"ctc_output.1.weight": torch.zeros(40, 48)},
            "of different vocabularies: .*ctc_output.1.weight 40",
        ),
    ],
)
def test_weights_of_something_else(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        architecture_of(change(renamed()), {})
