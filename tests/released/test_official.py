"""An adopted model computes what the program that released it computes."""

from __future__ import annotations

import pytest
import torch
from released.official import KINDS, OFFICIAL, outputs
from torch import Tensor

from zipformer.checkpoint.adoption import adopt
from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.context import Context
from zipformer.released.source import read_released

CLOSE = {"atol": 1e-4, "rtol": 0.0}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def adopted(kind: str, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    out = tmp_path_factory.mktemp("exp") / kind
    adopt(read_released(str(OFFICIAL / kind)), out)
    return load_model(out)


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    out = tmp_path_factory.mktemp("exp") / "streaming"
    adopt(read_released(str(OFFICIAL / "streaming" / "model.pt")), out)
    return load_model(out)


@torch.no_grad()
def encode(loaded: LoadedModel, features: Tensor, context: Context) -> Tensor:
    out, _ = loaded.model.encoder(features, torch.tensor([features.shape[1]]), context)
    return out


@torch.no_grad()
def test_whole_utterances_and_heads(adopted: LoadedModel, kind: str) -> None:
    theirs, model = outputs(kind), adopted.model
    full = encode(adopted, theirs["features"][:1], Context.full())
    torch.testing.assert_close(full, theirs["full"], **CLOSE)
    assert model.ctc_output and model.predictor and model.joiner
    torch.testing.assert_close(model.ctc_output(full), theirs["ctc_full"], **CLOSE)
    predicted = model.predictor(torch.tensor([[0, 5, 7, 9]]))
    torch.testing.assert_close(predicted, theirs["decoder"], **CLOSE)
    joint = model.joiner(full[:, :3, None], predicted[:, None, :3])
    torch.testing.assert_close(joint, theirs["joint"], **CLOSE)


@pytest.mark.parametrize(
    ("name", "context"),
    [("chunk16_left64", Context(32, 128)), ("chunk32_left128", Context(64, 256))],
)
def test_chunks(streaming: LoadedModel, name: str, context: Context) -> None:
    theirs = outputs()
    torch.testing.assert_close(
        encode(streaming, theirs["features"][:1], context), theirs[name], **CLOSE
    )


@torch.no_grad()
def test_streams(streaming: LoadedModel) -> None:
    theirs, context, encoder = outputs(), Context(32, 128), streaming.model.encoder
    features, parts = theirs["features"][:1], []
    state = encoder.initial_state(1, context)
    for start in range(0, features.shape[1] - 32 - 13 + 1, 32):
        out, state = encoder.step(features[:, start : start + 32 + 13], state, context)
        parts.append(out)
    heard = torch.cat(parts, dim=1)
    shared = min(heard.shape[1], theirs["stream16_64"].shape[1])
    assert shared >= 72
    torch.testing.assert_close(heard[:, :shared], theirs["stream16_64"][:, :shared], **CLOSE)
