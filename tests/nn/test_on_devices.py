"""What a GPU needs: nothing waits for the device's results, and the compiler sees one graph."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from nn.small_encoder import TINY, expressive_encoder
from tolerances import ENCODER
from torch import nn

from zipformer import Context, Encoder
from zipformer.heads.joiner import Joiner
from zipformer.losses import transducer_losses
from zipformer.nn import gradients, regularizers
from zipformer.nn.schedule import set_progress
from zipformer.nn.zipformer import attention, layer

CONTEXTS = [Context.full(), Context(32, 128), Context(32, -1, 64), Context(32, 128, 64)]
ONE_STACK = replace(
    TINY,
    **{
        name: value[1:2]
        for name, value in vars(TINY).items()
        if isinstance(value, tuple) and len(value) == 6
    },
)


@pytest.mark.parametrize("mode", ["windowed", "masked"])
@pytest.mark.parametrize("context", CONTEXTS, ids=str)
def test_forward_and_backward_never_look_at_results(
    context: Context, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the meta device there are shapes and no numbers: whoever asks for one fails."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not for meta
    for module in (attention, gradients, layer, regularizers):  # every rare branch is taken
        monkeypatch.setattr(module, "chance", lambda prob: prob > 0.0)
    encoder = Encoder(ONE_STACK).to("meta").train()
    set_progress(encoder, 100.0)
    features = torch.empty(2, 400, 80, device="meta")
    lengths = torch.empty(2, dtype=torch.long, device="meta")
    out, out_lengths = encoder(features, lengths, context, mode)
    losses = transducer_losses(
        out,
        out_lengths,
        torch.empty(2, 6, 8, device="meta", requires_grad=True),
        torch.empty(2, 5, dtype=torch.long, device="meta"),
        torch.empty(2, dtype=torch.long, device="meta"),
        nn.Linear(24, 7, device="meta"),
        nn.Linear(8, 7, device="meta"),
        Joiner(24, 8, 16, 7).to("meta"),
        reduction="sum",
    )
    sum(losses).backward()
    assert encoder.frontend.out.weight.grad is not None


@pytest.mark.parametrize("context", CONTEXTS[-1:], ids=str)
@torch.no_grad()
def test_the_compiler_sees_one_graph(context: Context) -> None:
    encoder = expressive_encoder(ONE_STACK)
    features, lengths = torch.randn(2, 200, 80), torch.tensor([200, 150])
    compiled = torch.compile(encoder, backend="eager", fullgraph=True, dynamic=False)
    found, wanted = compiled(features, lengths, context), encoder(features, lengths, context)
    assert (found[0] - wanted[0]).abs().max() <= ENCODER
