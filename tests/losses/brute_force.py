"""Transducer losses the slow and obvious way: one alignment after another.

Scores are (T, U + 1, V) log-probabilities of one utterance.
"""

from __future__ import annotations

import torch
from torch import Tensor


def smoothed_scores(am: Tensor, lm: Tensor, lm_scale: float, am_scale: float) -> Tensor:
    """(B, T, V), (B, U + 1, V) -> (B, T, U + 1, V), the whole lattice written out."""
    prior = lm.softmax(dim=-1).mean(dim=(0, 1))
    lm_only = lm.log_softmax(dim=-1).unsqueeze(1)
    am_only = (am + prior.log()).log_softmax(dim=-1).unsqueeze(2)
    joint = (am.unsqueeze(2) + lm.unsqueeze(1)).log_softmax(dim=-1)
    return lm_scale * lm_only + am_scale * am_only + (1 - lm_scale - am_scale) * joint


def alignments(
    scores: Tensor, symbols: list[int], rnnt_type: str, blank: int = 0
) -> list[tuple[Tensor, list[tuple[str, int, int]]]]:
    """Every alignment as its log-probability and its arcs ("token" or "blank", u, t)."""
    num_frames, num_tokens = scores.shape[0], len(symbols)
    found: list[tuple[Tensor, list[tuple[str, int, int]]]] = []

    def walk(t: int, u: int, score: Tensor, arcs: list[tuple[str, int, int]]) -> None:
        if t == num_frames:
            if u == num_tokens:
                found.append((score, arcs))
            return
        walk(t + 1, u, score + scores[t, u, blank], [*arcs, ("blank", u, t)])
        if u == num_tokens:
            return
        emitted = score + scores[t, u, symbols[u]]
        path = [*arcs, ("token", u, t)]
        if rnnt_type == "regular":
            walk(t, u + 1, emitted, path)
        elif rnnt_type == "modified":
            walk(t + 1, u + 1, emitted, path)
        else:
            walk(t + 1, u + 1, emitted + scores[t, u + 1, blank], path)

    walk(0, 0, scores.new_zeros(()), [])
    return found


def loss(scores: Tensor, symbols: list[int], rnnt_type: str, blank: int = 0) -> Tensor:
    """Negative log of the summed probabilities."""
    paths = [score for score, _ in alignments(scores, symbols, rnnt_type, blank)]
    return -torch.stack(paths).logsumexp(dim=0)


def occupations(
    scores: Tensor, symbols: list[int], rnnt_type: str, blank: int = 0
) -> tuple[Tensor, Tensor]:
    """How likely an alignment takes each token arc (U, T) and blank arc (U + 1, T)."""
    total = -loss(scores, symbols, rnnt_type, blank)
    num_frames, rows = scores.shape[:2]
    token, no_token = scores.new_zeros(rows - 1, num_frames), scores.new_zeros(rows, num_frames)
    for score, arcs in alignments(scores, symbols, rnnt_type, blank):
        for kind, u, t in arcs:
            (token if kind == "token" else no_token)[u, t] += (score - total).exp()
    return token, no_token
