"""What is heard step by step is what is scored."""

from __future__ import annotations

import pytest
import torch
from decoding.tiny_run import tiny_run
from tolerances import ENCODER
from torch import Tensor

from zipformer.context import Context
from zipformer.decoding.evaluate import encode, make_decoder
from zipformer.decoding.streams import encode_stream
from zipformer.training.checkpoint import LoadedModel

CONTEXTS = [Context(32, 128, 0), Context(32, 128, 64), Context(64, 128, 32)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, 80)


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
@pytest.mark.parametrize("length", [0, 8, 9, 40, 45, 46, 110, 331])
def test_a_stream_gives_the_encodings_of_the_whole(
    loaded: LoadedModel, context: Context, length: int
) -> None:
    encoder, x = loaded.model.encoder, features(1, length)
    with torch.no_grad():
        whole, lengths = encoder(x, torch.tensor([length]), context=context)
    stream = encode_stream(encoder, x[0], context)
    assert len(stream) == int(lengths[0])
    torch.testing.assert_close(stream, whole[0, : int(lengths[0])], atol=ENCODER, rtol=0)


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
def test_search_on_a_live_stream_hears_the_words_of_the_batch(
    loaded: LoadedModel, context: Context
) -> None:
    search, x = make_decoder(loaded), features(3, 300)
    lengths = torch.tensor([300, 150, 77])
    batch = search.decode(*encode(loaded.model.encoder, x, lengths, context, "windowed"))
    one_by_one = search.decode(*encode(loaded.model.encoder, x, lengths, context, "stream"))
    assert [h.tokens for h in batch] == [h.tokens for h in one_by_one]
    assert [h.frames for h in batch] == [h.frames for h in one_by_one]
    assert len(set(batch[0].tokens)) > 3
    stream = encode_stream(loaded.model.encoder, x[0], context)
    state = search.initial_state(1)
    for chunk in stream.split(context.chunk // 4):
        state = search.step(chunk[None], torch.tensor([len(chunk)]), state)
    assert search.hypotheses(state)[0].tokens == batch[0].tokens


def test_masked_right_context_hears_other_things(loaded: LoadedModel) -> None:
    x, lengths = features(1, 300), torch.tensor([300])
    outs = [
        encode(loaded.model.encoder, x, lengths, Context(32, 128, 64), mode)[0]
        for mode in ("windowed", "masked")
    ]
    assert (outs[0] - outs[1]).abs().max() > 100 * ENCODER


def test_what_cannot_stream_is_refused(loaded: LoadedModel) -> None:
    for context in (Context.full(), Context(32, -1, 0)):
        with pytest.raises(ValueError, match="cannot stream"):
            encode_stream(loaded.model.encoder, features(100), context)
