"""The losses of a model's heads, and how they are put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from training.tiny_corpus import ENCODER, MODEL, VOCAB_SIZE

from zipformer.config import LossConfig, ModelConfig
from zipformer.data.batch import Batch, pad_tokens
from zipformer.losses import ctc_loss, transducer_losses
from zipformer.model import AsrModel
from zipformer.nn.schedule import set_progress
from zipformer.training.methods.head_losses import (
    head_losses,
    make_targets,
    transducer_weights,
)

IDS = [[5, 6, 7], [8, 9, 10, 9], []]
LENGTHS = torch.tensor([20, 17, 3])
FRAMES = torch.tensor([86, 74, 18])  # of the features, which make so many output frames
BATCH = Batch(torch.zeros(3, 86, 80), FRAMES, IDS, [""] * 3, ["a", "b", "c"], 1.78)
WIDTH = ENCODER.output_dim
AED = replace(
    MODEL, attention_decoder=True, aed_layers=1, aed_dim=8, aed_heads=2, aed_feedforward_dim=12
)
ALL = LossConfig(warm_steps=4, ctc_scale=0.3, aed_scale=0.7)


def model_of(heads: ModelConfig, seed: int = 0) -> AsrModel:
    torch.manual_seed(seed)
    return AsrModel(ENCODER, VOCAB_SIZE, heads)


def encoded() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 20, WIDTH, generator=generator).requires_grad_()


def losses_of(model: AsrModel, settings: LossConfig, step: int = 2) -> Any:
    targets = make_targets(model, BATCH)
    return head_losses(model, encoded(), LENGTHS, targets, settings, step)


def written_out(
    model: AsrModel, encoder_out: Tensor, settings: LossConfig, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Transducer and CTC without anything that this package has for putting them together."""
    tokens = torch.tensor([[5, 6, 7, 0], [8, 9, 10, 9], [0, 0, 0, 0]])
    predictor_out = model.predictor(F.pad(tokens, (1, 0), value=0))
    simple, pruned = transducer_losses(
        encoder_out,
        LENGTHS,
        predictor_out,
        tokens,
        torch.tensor([3, 4, 0]),
        model.simple_am_proj,
        model.simple_lm_proj,
        model.joiner,
        prune_range=settings.prune_range,
        lm_scale=settings.lm_scale,
        am_scale=settings.am_scale,
        rnnt_type=settings.rnnt_type,
        backend=settings.backend,
        reduction="sum",
    )
    parts = {"simple": simple, "pruned": pruned}
    warm = min(step / settings.warm_steps, 1.0)
    loss = (1.0 + warm * (settings.simple_scale - 1.0)) * simple + (0.1 + warm * 0.9) * pruned
    if model.ctc_output is not None and settings.ctc_scale > 0:
        parts["ctc"] = ctc_loss(model.ctc_output(encoder_out), [20, 17, 3], tokens, [3, 4, 0])
        loss = loss + settings.ctc_scale * parts["ctc"]
    return loss, parts


@pytest.mark.parametrize("ctc_scale", [0.0, 0.2])
@pytest.mark.parametrize("step", [0, 3, 5000])
def test_transducer_and_ctc_are_put_together_bit_for_bit_as_by_hand(
    ctc_scale: float, step: int
) -> None:
    settings = LossConfig(ctc_scale=ctc_scale)
    results = []
    for compute in (head_losses, written_out):
        model, x = model_of(MODEL).train(), encoded()
        torch.manual_seed(1)  # dropout and balancers
        if compute is head_losses:
            targets = make_targets(model, BATCH)
            loss, parts = head_losses(model, x, LENGTHS, targets, settings, step)
        else:
            loss, parts = written_out(model, x, settings, step)
        loss.backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append({"loss": loss, "x": x.grad, **parts, **grads})
    ours, theirs = results
    assert ours.keys() == theirs.keys() and ("ctc" in ours) == (ctc_scale > 0)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("heads", "settings", "weights"),
    [
        (AED, ALL, {"simple": 0.75, "pruned": 0.55, "ctc": 0.3, "aed": 0.7}),
        (
            AED,
            replace(ALL, transducer_scale=0.5),
            {"simple": 0.375, "pruned": 0.275, "ctc": 0.3, "aed": 0.7},
        ),
        (AED, replace(ALL, transducer_scale=0.0), {"ctc": 0.3, "aed": 0.7}),
        (replace(AED, transducer=False), ALL, {"ctc": 0.3, "aed": 0.7}),
        (replace(AED, transducer=False), replace(ALL, aed_scale=0.0), {"ctc": 0.3}),
        (replace(AED, ctc=False), ALL, {"simple": 0.75, "pruned": 0.55, "aed": 0.7}),
    ],
    ids=["all", "half", "without weight", "ctc and aed", "ctc", "transducer and aed"],
)
def test_heads_that_are_there_and_have_weight_are_summed(
    heads: ModelConfig, settings: LossConfig, weights: dict[str, float]
) -> None:
    model = model_of(heads).eval()
    loss, parts = losses_of(model, settings)
    assert parts.keys() == weights.keys()
    wanted = sum(weights[name] * part.double() for name, part in parts.items())
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=1e-6)


def test_the_attention_decoder_learns_tokens_and_their_end_with_smoothed_labels() -> None:
    model = model_of(AED).eval()
    decoder, x = model.attention_decoder, encoded()
    assert decoder is not None
    for smoothing in (0.0, 0.2):
        wanted = 0.0
        for i, ids in enumerate(IDS):
            tokens = torch.tensor([ids], dtype=torch.int64)
            logits = decoder(tokens, x[i : i + 1, : LENGTHS[i]], LENGTHS[i : i + 1])[0]
            log_probs = logits.log_softmax(dim=1)  # (U + 1, V)
            right = log_probs[torch.arange(len(ids) + 1), torch.tensor([*ids, 1])]
            wanted -= ((1 - smoothing) * right + smoothing * log_probs.mean(dim=1)).sum()
        found = losses_of(model, replace(ALL, label_smoothing=smoothing))[1]["aed"]
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)


def test_asking_twice_with_the_same_targets_gives_the_same() -> None:
    model, x = model_of(AED).eval(), encoded()
    targets = make_targets(model, BATCH)
    other = head_losses(model, 2.0 * x, LENGTHS, targets, ALL, 2)[0]
    first, second = (head_losses(model, x, LENGTHS, targets, ALL, 2)[0] for _ in range(2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    (first + second).backward()  # both have graphs of their own behind the shared targets


@pytest.mark.parametrize("heads", [AED, replace(AED, transducer=False)], ids=["all", "ctc, aed"])
def test_every_parameter_of_the_heads_learns(heads: ModelConfig) -> None:
    model = model_of(heads).train()
    set_progress(model, 1e9)
    losses_of(model, ALL)[0].backward()
    names = [n for n, _ in model.named_parameters() if not n.startswith("encoder.")]
    grads = dict(model.named_parameters())
    assert names and [n for n in names if grads[n].grad is None or not grads[n].grad.any()] == []


def test_pruned_loss_takes_over_from_the_simple_one() -> None:
    settings = LossConfig(warm_steps=4)
    assert transducer_weights(settings, 0) == pytest.approx((1.0, 0.1))
    assert transducer_weights(settings, 2) == pytest.approx((0.75, 0.55))
    assert transducer_weights(settings, 4) == pytest.approx((0.5, 1.0))
    assert transducer_weights(settings, 10**9) == pytest.approx((0.5, 1.0))
    at_once = LossConfig(warm_steps=0, simple_scale=0.3)
    assert transducer_weights(at_once, 0) == pytest.approx((0.3, 1.0))


def test_padded_tokens_keep_their_ids_and_lengths() -> None:
    padded, lengths = pad_tokens([[3, 4], [], [5, 6, 7]])
    assert padded.tolist() == [[3, 4, 0], [0, 0, 0], [5, 6, 7]]
    assert lengths.tolist() == [2, 0, 3]
    assert pad_tokens([[]])[0].shape == (1, 0)
