"""The attention decoder: a Transformer that reads a transcript token by token and the encoder.

It sees a whole utterance, so that it cannot stream; it scores transcripts that others find.

Letters: B batch, U tokens, T encoder frames, E encoder width, D decoder width, H heads,
V vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.masks import valid_frames

SOS_EOS_ID = 1  # of <sos/eos>, which begins and ends a transcript; the tokenizer sees to it


class AttentionDecoder(nn.Module):
    """A Transformer decoder (Vaswani et al., arXiv 1706.03762) with normalisation before each part.

    Sinusoidal positions; keys and values of the cross-attention are projected from the encoder's
    width. Inside a layer parameters have the published names.

    Args:
        vocab_size: V.
        encoder_dim: E.
        num_layers: Layers.
        dim: D, a multiple of 2 and of the heads.
        num_heads: H.
        feedforward_dim: Width inside the feed-forward parts.
        dropout: Of embeddings and of the output of each part, in training.
        sos_eos_id: The token that stands before the first token and after the last.

    Raises:
        ValueError: If a size cannot be built, naming the key.
    """

    def __init__(
        self,
        vocab_size: int,
        encoder_dim: int,
        num_layers: int = 6,
        dim: int = 512,
        num_heads: int = 8,
        feedforward_dim: int = 2048,
        dropout: float = 0.1,
        sos_eos_id: int = SOS_EOS_ID,
    ) -> None:
        super().__init__()
        if min(num_layers, num_heads, feedforward_dim) < 1 or dim < 1 or dim % (2 * num_heads):
            raise ValueError(
                f"model.aed_dim {dim} must be a multiple of 2 x model.aed_heads {num_heads}; "
                f"model.aed_layers {num_layers} and model.aed_feedforward_dim {feedforward_dim} "
                "must be at least 1"
            )
        self.encoder_dim = encoder_dim
        self.num_heads = num_heads
        self.sos_eos_id = sos_eos_id
        self.embed = nn.Embedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, num_heads, feedforward_dim, encoder_dim, dropout)
            for _ in range(num_layers)
        )
        self.output_layer = nn.Linear(dim, vocab_size)

    def forward(self, tokens: Tensor, encoder_out: Tensor, lengths: Tensor) -> Tensor:
        """Scores of the next token at every place of transcripts.

        Args:
            tokens: (B, U) int64; what follows a token changes nothing before it.
            encoder_out: (B, T, E); an utterance without frames is one frame of zeros.
            lengths: (B,) valid frames.

        Returns:
            (B, U + 1, V) logits: of the first token, of the one after the first, ..., of the end.
        """
        return self.output_layer(self.states(tokens, encoder_out, lengths))

    def states(self, tokens: Tensor, encoder_out: Tensor, lengths: Tensor) -> Tensor:
        """What the output layer makes logits of, (B, U + 1, D); arguments as in ``forward``."""
        valid = valid_frames(lengths, encoder_out.shape[1])
        encoder_out = encoder_out.masked_fill(~valid[:, :, None], 0.0)
        if encoder_out.shape[1] == 0:
            encoder_out = F.pad(encoder_out, (0, 0, 0, 1))
        visible = valid_frames(lengths.clamp(min=1), encoder_out.shape[1])[:, None, None]
        x = self.embed(F.pad(tokens, (1, 0), value=self.sos_eos_id))  # (B, U + 1, D)
        dim = x.shape[2]
        x = self.dropout(x * math.sqrt(dim) + sinusoids(x.shape[1], dim, x.device).to(x))
        for layer in self.layers:
            x = layer(x, encoder_out, visible)
        return x

    def log_probs(
        self, tokens: Tensor, token_lens: Tensor, encoder_out: Tensor, lengths: Tensor
    ) -> Tensor:
        """Log-probabilities (B,) of whole transcripts, their end included.

        Args:
            tokens: (B, U) int64; padding may hold any id.
            token_lens: (B,) valid tokens.
            encoder_out, lengths: As in ``forward``.
        """
        logits = self(tokens, encoder_out, lengths).float()
        targets, valid = with_end(tokens, token_lens, self.sos_eos_id)
        each = logits.log_softmax(dim=-1).gather(2, targets[:, :, None]).squeeze(2)  # (B, U + 1)
        return each.masked_fill(~valid, 0.0).sum(dim=1)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoder, and a feed-forward part, each added to its input.

    Args:
        dim: D.
        num_heads: H.
        feedforward_dim: Width inside the feed-forward part.
        encoder_dim: E.
        dropout: Of the output of each part, in training.
    """

    def __init__(
        self, dim: int, num_heads: int, feedforward_dim: int, encoder_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm_self_attn = nn.LayerNorm(dim)
        self.self_attn = MultiHeadAttention(dim, dim, num_heads)
        self.norm_src_attn = nn.LayerNorm(dim)
        self.src_attn = MultiHeadAttention(dim, encoder_dim, num_heads)
        self.norm_ff = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, feedforward_dim),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_dim, dim),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, encoder_out: Tensor, visible: Tensor) -> Tensor:
        """(B, U, D), (B, T, E) of which (B, 1, 1, T) are there -> (B, U, D)."""
        x = x + self.dropout(self.self_attn(normed := self.norm_self_attn(x), normed))
        x = x + self.dropout(self.src_attn(self.norm_src_attn(x), encoder_out, visible))
        return x + self.dropout(self.feed_forward(self.norm_ff(x)))


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with H heads.

    Args:
        dim: D, of queries and outputs.
        memory_dim: Width of what is attended to.
        num_heads: H.
    """

    def __init__(self, dim: int, memory_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.linear_q = nn.Linear(dim, dim)
        self.linear_k = nn.Linear(memory_dim, dim)
        self.linear_v = nn.Linear(memory_dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor, visible: Tensor | None = None) -> Tensor:
        """Attends from every place of ``x`` to ``memory``.

        Args:
            x: (B, U, D).
            memory: (B, T, memory_dim).
            visible: (B, 1, 1, T) bool; if None a place sees itself and those before it.

        Returns:
            (B, U, D).
        """
        q = self._by_head(self.linear_q(x))  # (B, H, U, D / H)
        k, v = self._by_head(self.linear_k(memory)), self._by_head(self.linear_v(memory))
        out = F.scaled_dot_product_attention(q, k, v, visible, is_causal=visible is None)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


def sinusoids(length: int, dim: int, device: torch.device | None = None) -> Tensor:
    """(U, D) positions: sines at even channels, cosines at odd ones, wavelengths 2 pi to 20000 pi.

    Example:
        >>> sinusoids(1, 4).tolist()
        [[0.0, 1.0, 0.0, 1.0]]
    """
    place = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    channel = torch.arange(0, dim, 2, device=device, dtype=torch.float32)
    angle = place * torch.exp(channel * (-math.log(10000.0) / dim))  # (U, D / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


def with_end(tokens: Tensor, token_lens: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """Transcripts with the token that ends them.

    Args:
        tokens: (B, U) int64, padded with anything.
        token_lens: (B,) valid tokens.
        end: Id of the token that follows the last.

    Returns:
        (B, U + 1) ids, padded with ``end``; and (B, U + 1) bool, what belongs to them.
    """
    longer = F.pad(tokens, (0, 1), value=end)
    inside = valid_frames(token_lens, longer.shape[1])
    return longer.masked_fill(~inside, end), valid_frames(token_lens + 1, longer.shape[1])
