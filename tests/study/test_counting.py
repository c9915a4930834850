"""Operations are those of the formulas, for every kind of encoder, and none is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nn.small_encoder import ABLATIONS, CONFORMER, CONTEXTNET, KINDS, TINY
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from zipformer import ops
from zipformer.context import Context
from zipformer.model import build_encoder
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.nn.streaming_encoder import StreamingEncoder
from zipformer.study.counting import ADDED, Operations, count_operations

# What moves, makes, masks or compares numbers.
FREE = set(
    "_to_copy _unsafe_view alias arange cat clone constant_pad_nd copy_ empty expand gather index "
    "masked_fill new_zeros permute scalar_tensor select slice split split_with_sizes squeeze stack "
    "t transpose unbind unfold unsqueeze view where zeros_like".split()
)
FULL = Context.full()
ALL = {**KINDS, "ablated": replace(TINY, norm="layer_norm", activation="swish")}
FEW = {**KINDS, "zipformer": ABLATIONS["no_downsampling"]}  # of few layers, as time passes on each


def encoder_of(config: EncoderConfig) -> StreamingEncoder:
    with torch.device("meta"):
        return build_encoder(config).eval()


def count(config: EncoderConfig, context: Context = FULL, seconds: float = 3.0) -> Operations:
    return count_operations(encoder_of(config), context, seconds)


class Names(TorchDispatchMode):
    """Notes what is called with numbers that are not whole."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple | list) else out
        if isinstance(first, torch.Tensor) and first.is_floating_point():
            self.seen.add(func.overloadpacket.__name__)
        return out


def test_a_conformer_counted_by_hand() -> None:
    c, frames = CONFORMER, 300
    half, quarter = (frames - 7) // 2, ((frames - 7) // 2 + 1) // 2
    c1, c2, c3 = c.frontend_channels
    bins = (80 - 1) // 2, ((80 - 1) // 2 - 1) // 2
    convolutions = (frames - 2) * 80 * c1 * 9  # the first one is padded along frequency
    convolutions += ((frames - 2 - 3) // 2 + 1) * bins[0] * c2 * c1 * 9
    convolutions += half * bins[1] * c3 * c2 * 9
    convolutions += half * bins[1] * c3 * 49
    products = 2 * half * bins[1] * c3 * 3 * c3 + 3 * c3 * c3  # the bias that is moved
    products += half * c3 * bins[1] * c.dim
    products += quarter * 2 * c.dim  # downsampling by 2: a weighted mean

    d, offsets = c.dim, 2 * quarter
    layer = 2 * 2 * quarter * d * c.feedforward_dim
    layer += quarter * d * 3 * d + offsets * c.pos_dim * d + quarter * d * d
    layer += quarter * d * (quarter + offsets + quarter)  # content, position, values
    layer += quarter * d * 2 * d + quarter * d * d
    products += c.num_layers * layer
    convolutions += c.num_layers * quarter * d * c.kernel

    found = count(CONFORMER)
    assert found.convolutions == 2 * convolutions
    assert found.products == 2 * products
    assert found.total == found.products + found.convolutions + found.others


def test_what_torch_does_not_count_is_added_by_name() -> None:
    c, quarter = CONFORMER, 73
    found = count(CONFORMER).by_name
    assert found["_softmax"] == 5 * (c.num_layers * c.num_heads * quarter**2 + 2)  # downsampling
    silu = 2 * c.feedforward_dim + c.dim
    assert found["silu"] == c.num_layers * quarter * silu
    assert found["glu"] == 2 * c.num_layers * quarter * c.dim
    assert found["native_layer_norm"] == 7 * c.num_layers * 6 * quarter * c.dim


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("context", ["full", "32/128/32"])
def test_no_operation_is_forgotten(kind: str, context: str) -> None:
    encoder, frames = encoder_of(ALL[kind]), torch.full((1,), 203, device="meta")
    with Names() as names, torch.no_grad(), ops.use("reference"):
        encoder(torch.empty(1, 203, 80, device="meta"), frames, Context.parse(context))
    counted = {packet.__name__ for packet in flop_registry if hasattr(packet, "__name__")}
    assert names.seen <= counted | set(ADDED) | FREE


@pytest.mark.parametrize("kind", FEW)
def test_convolutions_grow_with_the_frames_and_attention_with_their_square(kind: str) -> None:
    one, two, three = (count(FEW[kind], FULL, seconds) for seconds in (4.0, 8.0, 12.0))
    assert three.convolutions - two.convolutions == two.convolutions - one.convolutions
    bends = (three.products - two.products) - (two.products - one.products)
    assert bends == 0 if kind == "contextnet" else bends > 0


@pytest.mark.parametrize("kind", FEW)
def test_chunks_cost_the_same_wherever_they_stand(kind: str) -> None:
    context = Context(32, 128, 32)
    one, two, three = (count(FEW[kind], context, seconds) for seconds in (6.4, 12.8, 19.2))
    assert three.products - two.products == two.products - one.products


def test_right_context_of_a_chunk_is_computed_twice() -> None:
    """Without attention: all but the frontend runs over windows of twice the size."""
    encoder, seconds = encoder_of(CONTEXTNET), 6.4
    frontend = encoder.frontend
    rows = ((640 - 7) // 2) * frontend.bins
    c3 = CONTEXTNET.frontend_channels[2]
    inside = 2 * (2 * rows * c3 * 3 * c3 + rows * c3 * CONTEXTNET.channels[0] + 3 * c3 * c3)
    alone, twice = (
        count_operations(encoder, Context(32, 128, right), seconds).products - inside
        for right in (0, 32)
    )
    assert twice == pytest.approx(2 * alone, rel=0.01)


def test_more_looked_at_costs_more() -> None:
    totals = [
        count(FEW["zipformer"], Context(32, left, right)).total
        for left, right in ((128, 0), (256, 0), (256, 32), (256, 64))
    ]
    assert totals == sorted(set(totals))
