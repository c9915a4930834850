"""Whether weights that were read back from a graph compute what the graph computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from zipformer.context import FRONTEND_LOOKAHEAD, Context
from zipformer.model import AsrModel
from zipformer.released.sizes import Architecture

STEPS = 6
LIMIT = 1e-3  # of the largest output


@torch.no_grad()
def compare_with_graph(
    weights: Mapping[str, Tensor], architecture: Architecture, path: Path
) -> str:
    """Gives the same noise to both, step by step, each with its own state.

    Args:
        weights: Of the graph, under our names.
        architecture: Of the model that they make.
        path: Of the encoder's graph; it ends with the projection for the joiner, or with CTC.

    Returns:
        At which context they were compared, and how far they lie apart, for people.

    Raises:
        ValueError: If they compute different things.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    context = _context(session.get_modelmeta().custom_metadata_map, architecture)
    model = AsrModel(architecture.encoder, architecture.vocab_size, architecture.model).eval()
    model.load_state_dict(weights)
    state = model.encoder.initial_state(1, context)
    entry, *states = session.get_inputs()
    caches = {state.name: _zeros(state) for state in states}
    noise = torch.Generator().manual_seed(0)
    size = (1, context.chunk + FRONTEND_LOOKAHEAD, entry.shape[2])
    error = scale = 0.0
    for _ in range(STEPS):
        features = torch.randn(size, generator=noise)
        out, state = model.encoder.step(features, state, context)
        theirs, *after = session.run(None, {entry.name: features.numpy()} | caches)
        caches = dict(zip(caches, after, strict=True))
        ours = _projected(model, out)
        if ours.shape != theirs.shape:
            raise ValueError(f"{path} gives {theirs.shape} a step, its weights {tuple(ours.shape)}")
        error = max(error, float(np.abs(ours.numpy() - theirs).max()))
        scale = max(scale, float(np.abs(theirs).max()))
    if not error <= LIMIT * scale:
        raise ValueError(
            f"{path} computes something else than a Zipformer with its weights: at {context} "
            f"outputs differ by {error:.1e}, of {scale:.1e} at most"
        )
    return f"graph and weights agree to {error:.1e} over {STEPS} steps at {context}"


def _context(metadata: Mapping[str, str], architecture: Architecture) -> Context:
    """That the graph was made for; it stores the left context of each stack, in its own frames."""
    left = int(metadata["left_context_len"].split(",")[0]) * architecture.encoder.downsampling[0]
    return Context(int(metadata["decode_chunk_len"]), 2 * left)


def _zeros(entry: onnxruntime.NodeArg) -> np.ndarray:
    """A state before the first step."""
    shape = [size if isinstance(size, int) else 1 for size in entry.shape]
    return np.zeros(shape, dtype=np.int64 if entry.type == "tensor(int64)" else np.float32)


def _projected(model: AsrModel, out: Tensor) -> Tensor:
    """(1, T', D) as graphs give it."""
    if model.joiner is not None:
        return model.joiner.project_encoder(out)
    assert model.ctc_output is not None, "a released model has one head at least"
    log_probs: Tensor = model.ctc_output(out)
    return log_probs
