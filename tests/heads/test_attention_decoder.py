"""Laws of the attention decoder."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tolerances import ROUNDING
from torch import Tensor, nn

from zipformer.heads.attention_decoder import AttentionDecoder, sinusoids, with_end

VOCAB, WIDTH, DIM = 11, 6, 8


def lively(width: int = WIDTH) -> AttentionDecoder:
    """Weights large enough that tokens and frames matter; without dropout."""
    decoder = AttentionDecoder(VOCAB, width, 2, DIM, num_heads=2, feedforward_dim=12)
    with torch.no_grad():
        for p in decoder.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return decoder.eval()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (2, 7), encoder outputs (2, 9, E) and their lengths."""
    return torch.randint(VOCAB, (2, 7)), torch.randn(2, 9, WIDTH), torch.tensor([9, 5])


def test_a_later_token_does_not_change_earlier_scores() -> None:
    decoder, (tokens, encoded, lengths) = lively(), batch()
    logits = decoder(tokens, encoded, lengths)
    assert logits.shape == (2, 8, VOCAB)
    for changed in range(7):
        other = tokens.clone()
        other[:, changed] = (other[:, changed] + 1) % VOCAB
        differs = (decoder(other, encoded, lengths) - logits).abs().amax(dim=2) > ROUNDING
        assert differs.int().tolist() == [[0] * (changed + 1) + [1] * (7 - changed)] * 2


def test_every_valid_frame_counts_and_no_other() -> None:
    decoder, (tokens, encoded, lengths) = lively(), batch()
    logits = decoder(tokens, encoded, lengths)
    for frame in range(9):
        other = encoded.clone()
        other[:, frame] += 1.0
        differs = (decoder(tokens, other, lengths) - logits).abs().amax(dim=(1, 2)) > ROUNDING
        assert differs.tolist() == [True, frame < 5]


def test_batch_mates_and_padding_change_nothing() -> None:
    decoder, (tokens, encoded, lengths) = lively(), batch()
    alone = decoder(tokens[1:, :4], encoded[1:, :5], lengths[1:])
    encoded[1, 5:] = torch.nan
    together = decoder(tokens, encoded, lengths)[1:, :5]
    assert (together - alone).abs().max() <= ROUNDING


def test_it_is_what_torch_calls_a_transformer_decoder() -> None:
    decoder, tokens, encoded = lively(DIM), torch.randint(VOCAB, (2, 5)), torch.randn(2, 9, DIM)
    theirs = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(
            DIM, 2, 12, activation=F.silu, batch_first=True, norm_first=True
        ),
        num_layers=2,
    ).eval()
    for ours, layer in zip(decoder.layers, theirs.layers, strict=True):
        weights = ours.state_dict()
        names = {"norm1": "norm_self_attn", "norm2": "norm_src_attn", "norm3": "norm_ff"}
        names |= {"linear1": "feed_forward.0", "linear2": "feed_forward.3"}
        state = {f"{n}.{p}": weights[f"{o}.{p}"] for n, o in names.items() for p in WB}
        for name, part in (("self_attn", "self_attn"), ("multihead_attn", "src_attn")):
            for p in WB:
                stacked = [weights[f"{part}.linear_{x}.{p}"] for x in "qkv"]
                state[f"{name}.in_proj_{p}"] = torch.cat(stacked)
                state[f"{name}.out_proj.{p}"] = weights[f"{part}.out_proj.{p}"]
        layer.load_state_dict(state)
    started = torch.cat([torch.ones(2, 1, dtype=torch.int64), tokens], dim=1)
    x = decoder.embed(started) * math.sqrt(DIM) + sinusoids(6, DIM)
    lengths = torch.tensor([9, 4])
    padding = torch.arange(9) >= lengths[:, None]
    causal = nn.Transformer.generate_square_subsequent_mask(6)
    wanted = theirs(x, encoded, tgt_mask=causal, memory_key_padding_mask=padding)
    found = decoder(tokens, encoded, lengths)
    assert (found - decoder.output_layer(wanted)).abs().max() <= ROUNDING


WB = ("weight", "bias")


def test_positions_are_sines_and_cosines() -> None:
    found = sinusoids(30, 6)
    for place in (0, 1, 29):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            assert float(found[place, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-5)
            assert float(found[place, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-5)


def test_log_probs_are_the_chain_of_next_tokens_to_the_end() -> None:
    decoder, (tokens, encoded, lengths) = lively(), batch()
    token_lens = torch.tensor([7, 3])
    found = decoder.log_probs(tokens, token_lens, encoded, lengths)
    for i in range(2):
        spoken, wanted = tokens[i, : token_lens[i]].tolist(), 0.0
        for j, token in enumerate([*spoken, decoder.sos_eos_id]):
            before = torch.tensor([spoken[:j]], dtype=torch.int64)
            logits = decoder(before, encoded[i : i + 1], lengths[i : i + 1])[0, -1]
            wanted += logits.log_softmax(-1)[token].item()
        assert found[i].item() == pytest.approx(wanted, abs=1e-4)


def test_an_utterance_without_frames_or_tokens_is_finite() -> None:
    decoder = lively()
    encoded = torch.full((2, 4, WIDTH), torch.nan)
    encoded[1, :2] = 1.0
    encoded.requires_grad_()
    tokens, lengths = torch.zeros(2, 0, dtype=torch.int64), torch.tensor([0, 2])
    logits = decoder(tokens, encoded, lengths)
    nothing = decoder(tokens[:1], torch.zeros(1, 0, WIDTH), lengths[:1])
    assert (logits[:1] - nothing).abs().max() <= ROUNDING
    logits.sum().backward()
    assert logits.isfinite().all() and all(p.grad.isfinite().all() for p in decoder.parameters())
    assert encoded.grad[0].abs().max() == 0 and encoded.grad[1, :2].abs().max() > 0


def test_the_end_stands_behind_the_last_token() -> None:
    targets, valid = with_end(torch.tensor([[5, 6], [7, 0], [0, 0]]), torch.tensor([2, 1, 0]), 1)
    assert targets.tolist() == [[5, 6, 1], [7, 1, 1], [1, 1, 1]]
    assert valid.int().tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("sizes", [{"dim": 9}, {"dim": 12, "num_heads": 4}, {"num_layers": 0}])
def test_sizes_that_cannot_be_built_are_refused(sizes: dict[str, int]) -> None:
    settings = {"dim": 8, "num_heads": 2, "num_layers": 1} | sizes
    with pytest.raises(ValueError, match=r"model.aed_dim .* model.aed_layers"):
        AttentionDecoder(VOCAB, WIDTH, **settings)  # type: ignore[arg-type]
