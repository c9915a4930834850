"""Norms of two modes: each context uses its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nn.small_encoder import BASELINES, KINDS, expressive_encoder

from zipformer.context import Context
from zipformer.nn.baselines.config import BaselineConfig

FULL, CHUNKS, MASKED = (
    (Context.full(), "windowed"),
    (Context(32, 128, 64), "windowed"),
    (Context(32, 128, 64), "masked"),
)


@pytest.mark.parametrize("kind", BASELINES)
@torch.no_grad()
def test_a_norm_is_used_in_its_own_mode_alone(kind: str) -> None:
    encoder = expressive_encoder(replace(KINDS[kind], dual_norm=True))
    features, lengths = 3 * torch.randn(1, 200, 80), torch.tensor([200])
    before = [encoder(features, lengths, *how)[0] for how in (FULL, CHUNKS, MASKED)]
    names = [n for n, _ in encoder.named_parameters() if "full_norm." in n]
    assert names
    for name in names:
        encoder.get_parameter(name).add_(0.3)
    after = [encoder(features, lengths, *how)[0] for how in (FULL, CHUNKS, MASKED)]
    assert [torch.equal(a, b) for a, b in zip(after, before, strict=True)] == [False, True, True]
    for name in names:  # the other norm of each pair
        encoder.get_parameter(name.replace("full_norm.", "norm.")).add_(0.3)
    last = [encoder(features, lengths, *how)[0] for how in (FULL, CHUNKS, MASKED)]
    assert [torch.equal(a, b) for a, b in zip(last, after, strict=True)] == [True, False, False]


@pytest.mark.parametrize("kind", BASELINES)
def test_without_dual_norms_there_is_one_for_all_contexts(kind: str) -> None:
    encoder = expressive_encoder(replace(KINDS[kind], dual_norm=False))
    assert not any("full_norm" in n for n, _ in encoder.named_parameters())


@pytest.mark.parametrize("kind", BASELINES)
def test_dual_norms_need_chunks(kind: str) -> None:
    config = KINDS[kind]
    assert isinstance(config, BaselineConfig)
    with pytest.raises(ValueError, match=r"dual_norm = true .*causal = false"):
        replace(config, dual_norm=True, causal=False)
