"""What the pruned joiner loss does with its cells, the kept (frame, token) pairs, beside products.

Letters: B batch, U tokens, T frames, S tokens kept at each frame, D joiner channels, N = B T S
cells, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor


def join(am: Tensor, lm: Tensor, kept: Tensor) -> Tensor:
    """(B, T, D), (B, U + 1, D), rows (B, T, S) -> tanh of the sums, (N, D)."""
    hidden = (2.0 * lm).flatten(0, 1).index_select(0, _row_index(kept, lm.shape[1]))
    hidden.view(*kept.shape, lm.shape[2]).add_((2.0 * am).unsqueeze(2))
    # tanh(x) = 2 sigmoid(2 x) - 1; on a CPU torch's sigmoid takes a sixth of the time of its tanh.
    return hidden.sigmoid_().mul_(2.0).sub_(1.0)


def unjoin(grad: Tensor, hidden: Tensor, kept: Tensor, lm_grad: Tensor) -> Tensor:
    """Gradients by the inputs of ``join`` from those by its output.

    Args:
        grad: (N, D).
        hidden: (N, D), what ``join`` returned.
        kept: (B, T, S).
        lm_grad: (B, U + 1, D); the gradient by ``lm`` is added to it.

    Returns:
        (B, T, D), the gradient by ``am``.
    """
    grad = torch.ops.aten.tanh_backward(grad, hidden)
    index = _row_index(kept, lm_grad.shape[1])
    lm_grad.flatten(0, 1).index_add_(0, index, grad.to(lm_grad.dtype))
    return grad.view(*kept.shape, grad.shape[1]).sum(dim=2, dtype=lm_grad.dtype)


class Arcs:
    """Log-softmax of cells at two ids, the next token and the blank, and its gradient.

    Args:
        logits: (N, V); half precision is taken to float32. Not needed any more afterwards.
        next_token: (N,) int64.
        blank: Id of the blank.

    Attributes:
        token, blank: (N,) log-probabilities; -inf where all logits of a cell are.
    """

    def __init__(self, logits: Tensor, next_token: Tensor, blank: int) -> None:
        logits = logits if logits.dtype == torch.float64 else logits.float()
        # Softmax is the fastest way over the vocabulary; its largest probability is in [1 / V, 1],
        # so that it loses no digits to take the normalizer from that.
        self._probs = logits.softmax(dim=1)
        largest = logits.amax(dim=1)
        impossible = largest == -torch.inf
        if logits.device.type != "cpu" or bool(impossible.any()):
            self._probs.masked_fill_(impossible.unsqueeze(1), 0.0)
        normalizer = largest - self._probs.amax(dim=1).log()
        normalizer.masked_fill_(impossible, 0.0)
        self._next_token, self._blank = next_token.unsqueeze(1), blank
        self.token = logits.gather(1, self._next_token).squeeze(1) - normalizer
        self.blank = logits[:, blank] - normalizer

    def gradient(self, token_grad: Tensor, blank_grad: Tensor) -> Tensor:
        """The gradient by the logits (N, V) from those by the arcs (N,); once only."""
        grad = self._probs.mul_(-(token_grad + blank_grad).unsqueeze(1))
        grad.scatter_add_(1, self._next_token, token_grad.unsqueeze(1))
        grad[:, self._blank] += blank_grad
        return grad


def _row_index(kept: Tensor, rows: int) -> Tensor:
    """(B, T, S) rows of each utterance -> (N,) rows of all of them in a row."""
    first = rows * torch.arange(kept.shape[0], device=kept.device)
    return (kept + first[:, None, None]).flatten()
