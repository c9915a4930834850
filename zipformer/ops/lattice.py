"""Forward-backward over a transducer lattice, for all utterances of a batch at once.

The lattice has T + 1 frames and R = U + 1 rows of nodes. From node (t, r) one arc consumes frame t
and stays in row r (``py``), another emits token r and enters row r + 1 (``px``): within the frame
in the regular type, towards the next frame otherwise. So every arc goes from step n to step n + 1,
where a node's step is t + r in the regular type and t otherwise, and

    alpha[n + 1, r] = logaddexp(alpha[n, r] + stay[n, r], alpha[n, r - 1] + token[n, r - 1])
    beta[n, r]      = logaddexp(beta[n + 1, r] + stay[n, r], beta[n + 1, r + 1] + token[n, r])

move all rows of all utterances at once.

Letters: B batch, U tokens, R = U + 1 rows, T frames, N steps.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

NEVER = -torch.inf
WORTH_A_THREAD = 2000  # numbers in a step from which a second thread pays


def lattice(
    px: Tensor, py: Tensor, boundary: Tensor, regular: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of all alignments together, and how likely each arc is.

    Args:
        px: (B, T, U), log-probabilities of tokens.
        py: (B, T, U + 1), log-probabilities of blanks.
        boundary: (B, 4) int64 rows (0, 0, U, T) of each utterance's own sizes; arcs beyond them
            may hold anything.
        regular: Whether tokens stay in their frame.

    Returns:
        (B,) log-probabilities, and probabilities that an alignment passes an arc, shaped like
        ``px`` and ``py``; -inf and zeros where there is no alignment.
    """
    batch, frames, rows = py.shape
    num_tokens, num_frames = boundary[:, 2], boundary[:, 3]
    skew = int(regular)
    stay, token = _inside(px, py, num_tokens, num_frames)
    arcs = _by_step(stay, token, skew)  # (2, B, N, R)
    _wait_at_end(arcs[0], num_frames + skew * num_tokens, num_tokens)
    alpha, beta = _both_ways(arcs, num_tokens)  # (B, N + 1, R + 1) each

    total = alpha[torch.arange(batch, device=px.device), -1, num_tokens]
    beta = beta - total.masked_fill(total == NEVER, 0.0)[:, None, None]
    alpha = _by_node(alpha, 0, frames, rows, skew)
    passing = torch.add(alpha, stay).add_(_by_node(beta, 1, frames, rows, skew))
    # A token's arc ends one row, and so skew steps, further; if not skewed, one frame.
    emitting = torch.add(alpha[..., :-1], token[..., :-1])
    emitting.add_(_by_node(beta[..., 1:], 1, frames, rows - 1, skew))
    return total.to(py.dtype), _probability(emitting, px.dtype), _probability(passing, py.dtype)


def _inside(
    px: Tensor, py: Tensor, num_tokens: Tensor, num_frames: Tensor
) -> tuple[Tensor, Tensor]:
    """Blank and token arcs, (B, T, R) both; -inf outside each utterance's own sizes."""
    frames, last_row = py.shape[1], px.shape[2]
    px = F.pad(px, (0, 1), value=NEVER)
    if py.device.type == "cpu" and bool(((num_tokens == last_row) & (num_frames == frames)).all()):
        return py, px
    frame = torch.arange(frames, device=py.device)[:, None]
    row = torch.arange(last_row + 1, device=py.device)
    late, last = frame >= num_frames[:, None, None], num_tokens[:, None, None]
    return py.masked_fill(late | (row > last), NEVER), px.masked_fill(late | (row >= last), NEVER)


def _by_step(stay: Tensor, token: Tensor, skew: int) -> Tensor:
    """Arcs by the step and row that they leave, (B, T, R) twice -> (2, B, N, R) in float64.

    An occupation is a small difference of large sums: in float32 a long utterance would lose three
    digits of it. Only Apple's GPUs have no float64.
    """
    batch, frames, rows = stay.shape
    steps = frames + skew * (rows - 1)
    wide = torch.float32 if stay.device.type == "mps" else torch.float64
    arcs = stay.new_empty(2, batch, steps, rows, dtype=wide)
    arcs[:, :, : skew * rows] = NEVER  # steps at which not every row has a node
    arcs[:, :, frames:] = NEVER
    for plane, by_frame in zip(arcs, (stay, token), strict=True):
        _by_node(plane, 0, frames, rows, skew).copy_(by_frame)
    return arcs


def _by_node(by_step: Tensor, first: int, frames: int, rows: int, skew: int) -> Tensor:
    """(B, steps, columns) -> (B, T, R), a view: node (t, r) is column r at step first + t + r."""
    per_step, per_row = by_step.stride(1), by_step.stride(2)
    return by_step.as_strided(
        (by_step.shape[0], frames, rows),
        (by_step.stride(0), per_step, skew * per_step + per_row),
        by_step.storage_offset() + first * per_step,
    )


def _wait_at_end(stay: Tensor, num_steps: Tensor, num_tokens: Tensor) -> None:
    """Lets shorter utterances wait in their last row, at no cost, until the batch has ended."""
    batch, steps, _ = stay.shape
    utterance = torch.arange(batch, device=stay.device)
    waits = torch.arange(steps, device=stay.device) >= num_steps[:, None]
    stay[utterance, :, num_tokens] = stay[utterance, :, num_tokens].masked_fill(waits, 0.0)


def _both_ways(arcs: Tensor, num_tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B, N + 1, R + 1) of coming to each node and of going on from it to the end.

    The last column is no row: nothing enters or leaves it.
    """
    _, batch, steps, rows = arcs.shape
    alpha, beta = arcs.new_empty(2, batch, steps + 1, rows + 1)
    alpha[:, 0] = beta[:, -1] = beta[..., -1] = NEVER
    alpha[:, 0, 0] = 0.0
    beta[torch.arange(batch, device=arcs.device), -1, num_tokens] = 0.0
    if arcs.device.type != "cpu" or batch * rows < WORTH_A_THREAD:
        _forwards(arcs, alpha)
        _backwards(arcs, beta)
        return alpha, beta
    # A step is too small for torch to share it among cores, but the directions are independent.
    inference = torch.is_inference_mode_enabled()
    with ThreadPoolExecutor(1) as other:
        done = other.submit(_backwards, arcs, beta, inference)
        _forwards(arcs, alpha, inference)
        done.result()
    return alpha, beta


def _forwards(arcs: Tensor, alpha: Tensor, inference: bool = False) -> None:
    with torch.inference_mode(inference):
        _, batch, _, rows = arcs.shape
        # The score behind an arc at the row that it enters; no token enters row 0.
        entered = arcs.new_full((2, batch, rows + 1), NEVER)
        stride = entered.stride(0)
        leaving = entered.as_strided((2, batch, rows), (stride + 1, rows + 1, 1))
        stayed, emitted = entered[..., :-1].unbind()
        scores = alpha[..., :-1].unbind(1)
        for source, arc, target in zip(scores, arcs.unbind(2), scores[1:], strict=False):
            torch.add(source, arc, out=leaving)
            torch.logaddexp(stayed, emitted, out=target)


def _backwards(arcs: Tensor, beta: Tensor, inference: bool = False) -> None:
    with torch.inference_mode(inference):
        _, batch, _, rows = arcs.shape
        ahead = arcs.new_empty(2, batch, rows)
        stayed, emitted = ahead.unbind()
        # Views (2, B, R) of each step: the same row, and the next one.
        sources = beta.unfold(2, rows, 1).permute(1, 2, 0, 3).unbind()
        targets = beta[..., :-1].unbind(1)
        for n, arc in reversed(list(enumerate(arcs.unbind(2)))):
            torch.add(sources[n + 1], arc, out=ahead)
            torch.logaddexp(stayed, emitted, out=targets[n])


def _probability(log_prob: Tensor, dtype: torch.dtype) -> Tensor:
    """exp, with zero for what float32 could only hold as a denormal number: those are slow."""
    return F.threshold(log_prob, -87.0, NEVER).to(dtype).exp_()
