"""A transducer with random weights that matter, and its export run by position, as sherpa does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from nn.small_encoder import TINY, expressive_encoder
from torch import Tensor

from zipformer import Transducer, ZipformerConfig

TOKENS = ["<blk>", "<sos/eos>", "<unk>", *"abcdefgh"]
CONFIG = replace(TINY, num_layers=(1, 2, 1, 1, 1, 1))  # two layers somewhere: their order shows


def expressive_transducer(config: ZipformerConfig = CONFIG) -> Transducer:
    """In eval mode; always the same."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = Transducer(config, len(TOKENS), predictor_dim=12, joiner_dim=14).eval()
        model.encoder = expressive_encoder(config)
        for p in (*model.predictor.parameters(), *model.joiner.parameters()):
            p.copy_(torch.randn(p.shape) / p[0].numel() ** 0.5)
    return model


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, *inputs: Tensor) -> list[Tensor]:
    feed = zip(session.get_inputs(), inputs, strict=True)
    feed = {spec.name: np.ascontiguousarray(tensor.numpy()) for spec, tensor in feed}
    return [torch.from_numpy(out) for out in session.run(None, feed)]


def shapes(specs: Sequence) -> dict[str, list]:
    return {spec.name: spec.shape for spec in specs}
