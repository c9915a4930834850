"""Laws of the predictor and the joiner."""

from __future__ import annotations

import pytest
import torch
from tolerances import ROUNDING

from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor

VOCAB, DIM = 11, 8


@pytest.mark.parametrize("context_size", [1, 2, 3])
def test_an_output_depends_on_the_last_tokens_only(context_size: int) -> None:
    predictor = StatelessPredictor(VOCAB, DIM, context_size)
    tokens = torch.randint(VOCAB, (2, 9))
    out = predictor(tokens)
    assert out.shape == (2, 9, DIM)
    for changed in range(9):
        other = tokens.clone()
        other[:, changed] = (other[:, changed] + 1) % VOCAB
        differs = (predictor(other) != out).any(dim=2).all(dim=0)
        assert differs.nonzero().flatten().tolist() == [
            i for i in range(9) if changed <= i < changed + context_size
        ]


@pytest.mark.parametrize("context_size", [1, 2, 3])
def test_a_window_of_tokens_gives_what_the_whole_gives_at_its_end(context_size: int) -> None:
    predictor = StatelessPredictor(VOCAB, DIM, context_size)
    tokens = torch.randint(VOCAB, (2, 7))
    whole = predictor(tokens)
    for end in range(context_size, 8):
        window = predictor(tokens[:, end - context_size : end], pad=False)
        assert window.shape == (2, 1, DIM)
        assert (window[:, 0] - whole[:, end - 1]).abs().max() <= ROUNDING


def test_negative_tokens_are_what_stands_before_the_start() -> None:
    predictor = StatelessPredictor(VOCAB, DIM)
    tokens = torch.randint(VOCAB, (2, 5))
    nothing = torch.full((2, 1), -1)
    found = predictor(torch.cat([nothing, tokens], dim=1), pad=False)
    assert (found - predictor(tokens)).abs().max() <= ROUNDING


def test_predictor_learns_from_every_token_it_sees_and_no_other() -> None:
    predictor = StatelessPredictor(VOCAB, DIM)
    predictor.eval()
    (predictor(torch.tensor([[3, 5, -1]])) ** 2).sum().backward()
    learned = predictor.embedding.weight.grad.abs().amax(dim=1) > 0
    assert learned.nonzero().flatten().tolist() == [3, 5]


def test_sizes_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(ValueError, match="model.predictor_dim 10"):
        StatelessPredictor(VOCAB, 10)
    with pytest.raises(ValueError, match="model.context_size 0"):
        StatelessPredictor(VOCAB, DIM, context_size=0)


def test_joiner_is_an_output_layer_on_the_tanh_of_a_sum() -> None:
    joiner = Joiner(6, DIM, 5, VOCAB)
    encoder_out, predictor_out = torch.randn(2, 4, 1, 6), torch.randn(2, 1, 3, DIM)
    logits = joiner(encoder_out, predictor_out)
    assert logits.shape == (2, 4, 3, VOCAB)
    x, y = encoder_out[1, 2, 0], predictor_out[1, 0, 2]
    hidden = torch.tanh(
        joiner.encoder_proj.weight @ x
        + joiner.encoder_proj.bias
        + joiner.decoder_proj.weight @ y
        + joiner.decoder_proj.bias
    )
    wanted = joiner.output_linear.weight @ hidden + joiner.output_linear.bias
    assert (logits[1, 2, 2] - wanted).abs().max() <= ROUNDING


def test_joiner_projections_can_be_taken_beforehand() -> None:
    joiner = Joiner(6, DIM, 5, VOCAB)
    encoder_out, predictor_out = torch.randn(2, 4, 6), torch.randn(2, 4, DIM)
    found = joiner(
        joiner.encoder_proj(encoder_out), joiner.decoder_proj(predictor_out), project=False
    )
    assert torch.equal(found, joiner(encoder_out, predictor_out))


def test_joiner_projections_start_at_a_quarter() -> None:
    joiner = Joiner(400, 400, 300, VOCAB)
    for layer in (joiner.encoder_proj, joiner.decoder_proj):
        bound = 0.25 / 400**0.5  # of torch's default, uniform in +-1 / sqrt(inputs)
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert 0.02 < layer.bias.abs().max() <= 0.025
