"""The laws of contexts: stream equals whole utterance, and nobody sees further than agreed.

They hold for every kind of encoder, and for every ablation of the Zipformer. The Zipformer is
tested at the contexts that it is used with, the others at fewer, some too short for it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nn.small_encoder import ABLATIONS, BASELINES, ENCODERS, KINDS, expressive_encoder
from tolerances import ENCODER
from torch import Tensor

from zipformer import Context, EncoderState
from zipformer.nn import layout
from zipformer.nn.streaming_encoder import StreamingEncoder

MENU = [
    Context(chunk, left, right)
    for chunk in (32, 64, 128)
    for left in (128, 256)
    for right in (0, 64, 128, 256)
]
SHORT = [Context(32, 128), Context(32, 64, 64), Context(20, 40, 12), Context(4, 16, 8)]
STREAMS = [
    *[("zipformer", context, n) for context in MENU for n in (9, 77, 301, 437)],
    *[(kind, context, n) for kind in BASELINES for context in SHORT for n in (9, 301)],
    *[(name, context, 301) for name in ABLATIONS for context in (MENU[0], Context(32, 128, 64))],
]


def cases(
    zipformer: list[Context], baselines: list[Context], ablations: list[Context]
) -> list[tuple[str, Context]]:
    """Encoders with the contexts they are tested at."""
    pairs = [("zipformer", context) for context in zipformer]
    pairs += [(kind, context) for kind in BASELINES for context in baselines]
    return pairs + [(name, context) for name in ABLATIONS for context in ablations]


def stream(encoder: StreamingEncoder, features: Tensor, context: Context) -> Tensor:
    """Step by step, and a flush of what is left: (1, T, 80) -> (1, T', D)."""
    state, outs, start = encoder.initial_state(1, context), [], 0
    while start + context.window + 13 <= features.shape[1]:
        window = features[:, start : start + context.window + 13]
        out, state = encoder.step(window, state, context)
        assert out.shape[1] == context.chunk // 4
        outs.append(out)
        start += context.chunk
    rest = features[:, start:]
    out, lengths = encoder.flush(rest, torch.tensor([rest.shape[1]]), state, context)
    assert out.shape[1] == int(lengths[0])
    return torch.cat([*outs, out], dim=1)


@pytest.mark.parametrize("kind,context,num_frames", STREAMS, ids=str)
@torch.no_grad()
def test_stream_equals_windowed(kind: str, context: Context, num_frames: int) -> None:
    encoder = expressive_encoder(ENCODERS[kind])
    features = 3 * torch.randn(1, num_frames, 80)
    whole, lengths = encoder(features, torch.tensor([num_frames]), context)
    streamed = stream(encoder, features, context)
    assert streamed.shape == whole.shape
    assert (streamed - whole).abs().max() <= ENCODER


@pytest.mark.parametrize("mode", ["windowed", "masked"])
@pytest.mark.parametrize(
    "kind,context",
    cases(
        [
            Context.full(),
            Context(32, 128),
            Context(64, -1),
            Context(32, 128, 64),
            Context(64, -1, 64),
        ],
        [Context.full(), Context(32, 128), Context(20, -1, 12)],
        [Context.full(), Context(32, 128, 64)],
    ),
    ids=str,
)
@torch.no_grad()
def test_batch_mates_and_padding_change_nothing(kind: str, context: Context, mode: str) -> None:
    encoder = expressive_encoder(ENCODERS[kind])
    lengths = torch.tensor([301, 9, 150, 8, 222])
    features = 3 * torch.randn(5, 301, 80)
    together, out_lengths = encoder(features, lengths, context, mode)
    assert out_lengths.tolist() == [((n - 7) // 2 + 1) // 2 for n in lengths.tolist()]
    assert together.isfinite().all()
    for i, n in enumerate(lengths.tolist()):
        alone, _ = encoder(features[i : i + 1, :n], torch.tensor([n]), context, mode)
        assert alone.shape[1] == out_lengths[i]
        if n >= 9:
            difference = together[i, : alone.shape[1]] - alone[0]
            assert difference.abs().max() <= ENCODER


@pytest.mark.parametrize(
    "kind,context",
    cases(
        [Context(32, 128), Context(32, -1), Context(32, 128, 64), Context(64, 128, 256)],
        [Context(20, 40), Context(4, -1), Context(20, 40, 12), Context(8, -1, 20)],
        [Context(32, 128), Context(32, 128, 64)],
    ),
    ids=str,
)
@torch.no_grad()
def test_windows_that_look_ahead_equal_the_mask(
    kind: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder takes the cheaper of the two by itself; here each is forced."""
    encoder = expressive_encoder(ENCODERS[kind])
    features, lengths = 3 * torch.randn(2, 250, 80), torch.tensor([250, 201])
    monkeypatch.setattr(layout, "_windows_are_cheaper", lambda *_: True)
    windowed, out_lengths = encoder(features, lengths, context, "masked")
    monkeypatch.setattr(layout, "_windows_are_cheaper", lambda *_: False)
    masked, _ = encoder(features, lengths, context, "masked")
    if kind != "contextnet":  # without attention there is nothing to round differently
        assert not torch.equal(windowed, masked)  # both have been run
    for i, n in enumerate(out_lengths.tolist()):
        assert (windowed[i, :n] - masked[i, :n]).abs().max() <= ENCODER


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_unlimited_left_equals_a_left_longer_than_the_utterance(kind: str) -> None:
    encoder = expressive_encoder(ENCODERS[kind])
    features, lengths = 3 * torch.randn(2, 250, 80), torch.tensor([250, 201])
    unlimited, out_lengths = encoder(features, lengths, Context(32, -1, 64))
    long, _ = encoder(features, lengths, Context(32, 512, 64))
    for i, n in enumerate(out_lengths.tolist()):
        assert (unlimited[i, :n] - long[i, :n]).abs().max() <= ENCODER


@pytest.mark.parametrize(
    "kind,context",
    cases(
        [Context(32, 128), Context(32, 128, 64)],
        [Context(32, 128), Context(20, 40, 12)],
        [Context(32, 128, 64)],
    ),
    ids=str,
)
@torch.no_grad()
def test_lookahead_is_chunk_plus_right_plus_13(kind: str, context: Context) -> None:
    encoder = expressive_encoder(ENCODERS[kind])
    features, lengths = 3 * torch.randn(1, 301, 80), torch.tensor([301])
    before, _ = encoder(features, lengths, context)
    seen = context.window + 13
    changed = features.clone()
    changed[:, seen:] += 1.0
    after, _ = encoder(changed, lengths, context)
    first = context.chunk // 4
    assert (after[:, :first] - before[:, :first]).abs().max() == 0
    changed = features.clone()
    changed[:, seen - 1] += 10.0  # the last frame of the look-ahead does count
    after, _ = encoder(changed, lengths, context)
    assert (after[:, :first] - before[:, :first]).abs().max() > ENCODER


@pytest.mark.parametrize("kind", ENCODERS)
@torch.no_grad()
def test_right_context_and_mode_matter_with_these_weights(kind: str) -> None:
    """Guards the other tests: with weights that ignore context they would prove nothing."""
    encoder = expressive_encoder(ENCODERS[kind])
    features, lengths = 3 * torch.randn(1, 301, 80), torch.tensor([301])
    outs = [
        encoder(features, lengths, context, mode)[0]
        for context, mode in [
            (Context.full(), "windowed"),
            (Context(32, 128), "windowed"),
            (Context(32, 256), "windowed"),
            (Context(32, 128, 64), "windowed"),
            (Context(32, 128, 64), "masked"),
        ]
    ]
    for i, a in enumerate(outs):
        for j, b in enumerate(outs[:i]):
            if kind == "contextnet" and (j, i) == (1, 2):  # it has no left context to limit
                assert (a - b).abs().max() <= ENCODER
            else:
                assert (a - b).abs().mean() > 10 * ENCODER


@pytest.mark.parametrize("kind", [*KINDS, "no_sharing"])
@torch.no_grad()
def test_streams_join_and_leave_between_steps(kind: str) -> None:
    encoder, context = expressive_encoder(ENCODERS[kind]), Context(32, 128, 64)
    features = 3 * torch.randn(3, 32 * 4 + 64 + 13, 80)
    size = context.window + 13

    def window(stream: int, step: int) -> Tensor:
        return features[stream : stream + 1, 32 * step : 32 * step + size]

    alone = []
    for i in range(3):
        state, outs = encoder.initial_state(1, context), []
        for k in range(4):
            out, state = encoder.step(window(i, k), state, context)
            outs.append(out)
        alone.append(outs)

    # Stream 1 joins a step after stream 0, stream 2 after two steps; stream 0 leaves after three.
    state = encoder.initial_state(1, context)
    out, state = encoder.step(window(0, 0), state, context)
    state = EncoderState.cat([state, encoder.initial_state(1, context)])
    out, state = encoder.step(torch.cat([window(0, 1), window(1, 0)]), state, context)
    assert (out[0] - alone[0][1][0]).abs().max() <= ENCODER
    state = EncoderState.cat([state, encoder.initial_state(1, context)])
    out, state = encoder.step(torch.cat([window(0, 2), window(1, 1), window(2, 0)]), state, context)
    assert (out[2] - alone[2][0][0]).abs().max() <= ENCODER
    state = state.select([2, 1])
    out, state = encoder.step(torch.cat([window(2, 1), window(1, 2)]), state, context)
    assert (out[0] - alone[2][1][0]).abs().max() <= ENCODER
    assert (out[1] - alone[1][2][0]).abs().max() <= ENCODER
    assert state.processed.tolist() == [2 * 16, 3 * 16]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_step_does_not_change_the_state_it_was_given(kind: str) -> None:
    encoder, context = expressive_encoder(ENCODERS[kind]), Context(32, 128)
    state = encoder.initial_state(1, context)
    features = torch.randn(1, 45, 80)
    first, _ = encoder.step(features, state, context)
    again, _ = encoder.step(features, state, context)
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    "kind,context,message",
    [
        ("zipformer", Context(40, 160), "multiple of 16 frames; nearest allowed: 32 or 48"),
        ("zipformer", Context(32, 144), "multiple of the chunk 32; nearest allowed: 128 or 160"),
        ("zipformer", Context(32, 64), "nearest allowed: 128"),
        ("zipformer", Context(32, 128, 8), "nearest allowed: 0 or 16"),
        ("conformer", Context(30, 150), "multiple of 4 frames; nearest allowed: 28 or 32"),
        ("conformer", Context(4, 8), "nearest allowed: 12"),
        ("transformer", Context(32, 40), "multiple of the chunk 32; nearest allowed: 32 or 64"),
        ("contextnet", Context(32, 128, 2), "nearest allowed: 0 or 4"),
    ],
    ids=str,
)
def test_context_that_is_not_allowed_is_refused(kind: str, context: Context, message: str) -> None:
    encoder = expressive_encoder(ENCODERS[kind])
    with pytest.raises(ValueError, match=message):
        encoder(torch.randn(1, 100, 80), torch.tensor([100]), context)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("context", [Context.full(), Context(32, -1)], ids=str)
def test_unlimited_context_cannot_stream(kind: str, context: Context) -> None:
    with pytest.raises(ValueError, match="cannot stream"):
        expressive_encoder(ENCODERS[kind]).initial_state(1, context)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_an_encoder_that_is_not_causal_sees_whole_utterances_only(kind: str) -> None:
    changes = {} if kind == "zipformer" else {"dual_norm": False}
    encoder = expressive_encoder(replace(KINDS[kind], causal=False, **changes))
    features, lengths = 3 * torch.randn(2, 250, 80), torch.tensor([250, 100])
    together, out_lengths = encoder(features, lengths)
    alone, _ = encoder(features[1:, :100], lengths[1:])
    assert (together[1, : int(out_lengths[1])] - alone[0]).abs().max() <= ENCODER
    changed = features.clone()
    changed[:, 240:] += 1.0
    assert (encoder(changed, lengths)[0][0, 0] - together[0, 0]).abs().max() > ENCODER
    with pytest.raises(ValueError, match="causal = false sees the whole utterance"):
        encoder(features, lengths, Context(32, 128))
    with pytest.raises(ValueError, match="causal = false"):
        encoder.initial_state(1, Context(32, 128))


def test_wrong_input_is_named() -> None:
    encoder, context = expressive_encoder(), Context(32, 128)
    with pytest.raises(ValueError, match=r"features must be \(B, T, 80\)"):
        encoder(torch.randn(1, 100, 40), torch.tensor([100]))
    with pytest.raises(ValueError, match="lengths must be"):
        encoder(torch.randn(2, 100, 80), torch.tensor([100]))
    with pytest.raises(ValueError, match="takes 45 frames"):
        encoder.step(torch.randn(1, 44, 80), encoder.initial_state(1, context), context)
    with pytest.raises(ValueError, match="choose 'windowed' or 'masked'"):
        encoder(torch.randn(1, 100, 80), torch.tensor([100]), context, "both")
