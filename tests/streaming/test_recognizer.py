"""What a stream hears is what decoding the whole utterance hears."""

from __future__ import annotations

import copy
import gc
import logging
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nn.small_encoder import expressive_encoder
from tiny_run import ALL_HEADS, CTC_ATTENTION, tiny_run
from tolerances import ENCODER, EXACT
from trained_digits import CHECKPOINT, read_strings, trained

from zipformer import Context, EncoderState
from zipformer.checkpoint.loading import LoadedModel
from zipformer.data.features import extract
from zipformer.search import greedy
from zipformer.search.protocol import Hypothesis
from zipformer.search.search import KINDS, Kind, Search, make_searcher
from zipformer.streaming import Recognizer, Stream, trace

CONTEXTS = [Context(32, 128, 0), Context(32, 128, 64), Context(64, 128, 32), Context(32, 64, 128)]
MENU = [Context(c, 256, r) for c in (32, 64, 128) for r in (0, 64, 128, 256)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def all_heads(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("all"), ALL_HEADS)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


@torch.no_grad()
def whole(
    loaded: LoadedModel, samples: np.ndarray, context: Context, search: Search | None = None
) -> Hypothesis:
    """What decode.py scores: all features at once, windowed."""
    features = extract(samples[None])[None]
    lengths = torch.tensor([features.shape[1]])
    out, out_lengths = loaded.model.encoder(features, lengths, context, "windowed")
    if search is not None:
        decoder = make_searcher(loaded.model, loaded.tokenizer.tokens, search)
        return decoder.decode(out, out_lengths)[0]
    return greedy(loaded.model, out, out_lengths, loaded.tokenizer.unk_id)[0]


def heard(stream: Stream, samples: np.ndarray, sizes: list[int]) -> tuple[list[int], list[int]]:
    start, count = 0, 0
    while start < len(samples):
        size = sizes[count % len(sizes)]
        stream.push(samples[start : start + size])
        start, count = start + size, count + 1
    result = stream.close()
    return result.tokens, result.frames


@settings(max_examples=25)
@given(
    st.sampled_from(CONTEXTS),
    st.lists(st.integers(1, 24_000), min_size=1, max_size=6),
    st.integers(0, 40_000),
)
def test_any_pieces_of_audio_give_the_tokens_of_the_whole(
    loaded: LoadedModel, context: Context, sizes: list[int], num_samples: int
) -> None:
    samples = sound(3.0)[:num_samples]
    wanted = whole(loaded, samples, context)
    stream = Recognizer.of(loaded, context).open()
    assert heard(stream, samples, sizes) == (wanted.tokens, wanted.frames)


@pytest.mark.parametrize("sizes", [[1], [160_000]], ids=["1 sample", "10 s"])
def test_smallest_and_largest_pieces(loaded: LoadedModel, sizes: list[int]) -> None:
    samples = sound(10.0)[: 6_000 if sizes == [1] else None]
    wanted = whole(loaded, samples, CONTEXTS[1])
    assert wanted.tokens
    stream = Recognizer.of(loaded, CONTEXTS[1]).open()
    assert heard(stream, samples, sizes) == (wanted.tokens, wanted.frames)


@pytest.mark.parametrize("context", MENU, ids=str)
def test_a_trained_model_hears_in_a_stream_what_it_is_scored_on(
    digit_strings: Path, context: Context
) -> None:
    recognizer = Recognizer.of(trained(), context)
    for cut in read_strings(digit_strings)[:5]:
        samples = cut.load_audio()[0]
        wanted = whole(trained(), samples, context)
        stream = recognizer.open()
        assert heard(stream, samples, [5120]) == (wanted.tokens, wanted.frames)
        assert stream.text == trained().tokenizer.decode(wanted.tokens)
        assert [w.text for w in stream.result.words] == stream.text.split()
        assert all(0 < w.confidence <= 1 for w in stream.result.words)


@pytest.mark.parametrize("context", CONTEXTS[:2], ids=str)
def test_beam_search_on_a_stream_hears_what_it_hears_at_once(
    digit_strings: Path, context: Context
) -> None:
    context = Context(context.chunk, 256, context.right)
    recognizer = Recognizer.of(trained(), context, Search("modified_beam_search"))
    for cut in read_strings(digit_strings)[:4]:
        samples, stream = cut.load_audio()[0], recognizer.open()
        features = extract(samples)[None]
        with torch.no_grad():
            encoded = trained().model.encoder(features, torch.tensor([len(features[0])]), context)
        wanted = recognizer.searcher.decode(*encoded)[0]
        assert heard(stream, samples, [3000, 7000]) == (wanted.tokens, wanted.frames)


def test_streams_that_join_wait_and_leave_change_nothing_for_others(loaded: LoadedModel) -> None:
    recognizer = Recognizer.of(loaded, Context(32, 128, 64))
    audio = [sound(seconds, seed) for seed, seconds in enumerate((3.0, 1.0, 2.2, 0.01, 1.7))]
    joins, waits = (0, 0, 3, 4, 6), (0, 0, 2, 0, 1)
    streams: dict[int, Stream] = {}
    done: dict[int, list[int]] = {}
    position = dict.fromkeys(range(5), 0)
    for turn in range(40):
        for i in range(5):
            if turn == joins[i]:
                streams[i] = recognizer.open()
            if i in streams and i not in done and turn >= joins[i] and turn % (waits[i] + 1) == 0:
                streams[i].accept(audio[i][position[i] : position[i] + 4000])
                position[i] += 4000
        recognizer.step(streams.values())
        ended = [i for i in streams if i not in done and position[i] >= len(audio[i])]
        results = recognizer.close([streams[i] for i in ended])
        done |= {i: result.tokens for i, result in zip(ended, results, strict=True)}
    wanted = [whole(loaded, samples, recognizer.context).tokens for samples in audio]
    assert [done[i] for i in range(5)] == wanted
    assert sum(map(len, wanted)) > 10


def test_provisional_words_come_from_right_context_and_are_replaced(loaded: LoadedModel) -> None:
    samples, context = sound(3.0), Context(32, 128, 128)
    stream, lines, finals = Recognizer.of(loaded, context).open(), [], []
    for piece in np.array_split(samples, 30):
        stream.push(piece)
        assert (stream.text + stream.provisional).startswith(stream.text)
        lines.append(stream.text + stream.provisional)
        finals.append(stream.text)
    text = stream.close().text
    assert stream.provisional == "" and stream.text == text
    assert all(text.startswith(final) for final in finals)  # what is final stays
    assert any(len(line) > len(final) for line, final in zip(lines, finals, strict=True))
    assert any(not text.startswith(line) for line in lines)  # what is provisional may not


def test_without_right_context_nothing_is_provisional(loaded: LoadedModel) -> None:
    stream = Recognizer.of(loaded, Context(32, 128, 0)).open()
    stream.push(sound(2.0))
    assert stream.text and stream.provisional == ""


@pytest.mark.parametrize("context", [Context(32, 256, 0), Context(64, 256, 128)], ids=str)
def test_a_traced_step_hears_the_same(context: Context) -> None:
    plain, traced = (Recognizer.of(trained(), context, prepare=p) for p in (None, trace))
    results = []
    for recognizer in (plain, traced):
        streams = [recognizer.open() for _ in range(5)]
        for turn in range(8):  # batches of 5, 4 and 3 streams, with different pasts
            for i, stream in enumerate(streams[: 5 - turn // 3]):
                stream.accept(sound(0.7, seed=10 * turn + i))
            recognizer.advance(streams)
        results.append([s.encoder_state for s in streams])
    for found, wanted in zip(results[1], results[0], strict=True):
        assert (found - wanted).abs().max() <= 10 * ENCODER  # keys and values reach a hundred


@torch.no_grad()
def test_right_context_looks_as_if_it_belonged_to_the_chunk() -> None:
    encoder, features = expressive_encoder(), 3 * torch.randn(2, 128 + 13, 80)
    context, longer = Context(64, 128, 64), Context(128, 128, 0)
    out, _ = encoder.step(features, encoder.initial_state(2, context), context, with_right=True)
    chunk, _ = encoder.step(features, encoder.initial_state(2, context), context)
    wanted, _ = encoder.step(features, encoder.initial_state(2, longer), longer)
    assert torch.equal(out[:, :16], chunk)
    assert (out - wanted).abs().max() <= ENCODER


def test_looking_at_provisional_words_changes_nothing(loaded: LoadedModel) -> None:
    samples = sound(2.5)
    recognizer = Recognizer.of(loaded, Context(32, 128, 64))
    looking, other = recognizer.open(), recognizer.open()
    for piece in np.array_split(samples, 20):
        looking.push(piece)
        recognizer.accept(other, piece)
        recognizer.advance([other])
        shown = looking.provisional
        recognizer.look_ahead([looking])
        assert looking.provisional == shown and other.provisional == ""
    assert looking.close() == other.close()


@pytest.mark.parametrize(
    "search",
    [*map(Search, KINDS[2:]), Search("attention_rescoring", 4, 0.9, "ctc")],
    ids=str,
)
def test_streams_of_every_search_hear_what_the_whole_gives(
    all_heads: LoadedModel, search: Search
) -> None:
    context, texts = Context(32, 128, 64), set()
    recognizer = Recognizer.of(all_heads, context, search)
    streams = [recognizer.open() for _ in range(3)]
    sounds = [sound(0.9 + 0.5 * i, seed=i) for i in range(3)]
    for start in range(0, len(sounds[2]), 6000):
        for stream, samples in zip(streams, sounds, strict=True):
            stream.accept(samples[start : start + 6000])
        recognizer.advance(streams)
    recognizer.look_ahead(streams)
    for samples, found in zip(sounds, recognizer.close(streams), strict=True):
        wanted = whole(all_heads, samples, context, search)
        assert (found.tokens, found.frames) == (wanted.tokens, wanted.frames)
        texts.add(found.text)
    assert len(texts) > 1


def test_a_model_without_transducer_is_heard_greedily_by_its_ctc_head(tmp_path: Path) -> None:
    loaded, context, samples = tiny_run(tmp_path, CTC_ATTENTION), Context(32, 128, 0), sound(2.0)
    wanted = whole(loaded, samples, context, Search("ctc_greedy"))
    assert len(wanted.tokens) > 3
    stream = Recognizer.of(loaded, context).open()
    assert heard(stream, samples, [5000]) == (wanted.tokens, wanted.frames)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_ahead_in_many_streams_at_once_is_looking_ahead_in_each(
    all_heads: LoadedModel, kind: Kind
) -> None:
    recognizer = Recognizer.of(all_heads, Context(32, 128, 64), Search(kind))
    lines = []
    for at_once in (True, False):
        streams = [recognizer.open() for _ in range(4)]
        for i, stream in enumerate(streams):
            stream.accept(sound(1.0 + 0.4 * i, seed=i) if i else sound(0.1))  # the first waits
        recognizer.advance(streams)
        for together in [streams] if at_once else [[stream] for stream in streams]:
            recognizer.look_ahead(together)
        lines.append([stream.provisional for stream in streams])
    assert lines[0] == lines[1] and any(lines[0]) and lines[0][0] == ""


def test_a_long_stream_needs_no_more_memory_than_a_short_one(loaded: LoadedModel) -> None:
    recognizer = Recognizer.of(loaded, Context(32, 128, 64))
    stream, other, sizes = recognizer.open(), recognizer.open(), set()
    for i in range(30):
        other.accept(sound(2.0))
        stream.accept(sound(1.0 if i % 2 else 10.0, seed=i))
        recognizer.advance([stream, other])
        assert stream.waiting_frames < recognizer.step_frames
        state = stream.encoder_state
        assert state is not None and state.untyped_storage().nbytes() == recognizer.state_bytes
        assert stream.frames.untyped_storage().nbytes() <= 4 * 80 * 2000
        sizes.add(sum(getattr(stream.search_state, n).nbytes for n in vars(stream.search_state)))
    assert len(sizes) == 1


def test_a_step_is_taken_as_soon_as_its_last_frame_is_complete(loaded: LoadedModel) -> None:
    recognizer = Recognizer.of(loaded, Context(32, 128, 64))
    stream = recognizer.open()
    needed = (recognizer.step_frames - 1) * 160 + 280  # the last frame ends there
    stream.push(sound(2.0)[: needed - 1])
    assert stream.processed == 0
    stream.push(sound(2.0)[needed - 1 : needed])
    assert stream.processed == 16


def test_a_forgotten_stream_is_gone(loaded: LoadedModel) -> None:
    recognizer = Recognizer.of(loaded, Context(32, 128, 64))
    stream, other = recognizer.open(), recognizer.open()
    for each in (stream, other):
        each.accept(sound(2.0))
    recognizer.advance([stream, other])
    gone = weakref.ref(stream)
    del stream, each
    gc.collect()
    assert gone() is None
    assert other.close().tokens == whole(loaded, sound(2.0), recognizer.context).tokens


BAD = {
    "stereo": (np.zeros((2, 100), np.float32), None, "one channel"),
    "integers": (np.zeros(100, np.int16), None, "divide 16-bit integers by 32768"),
    "nan": (np.array([0.0, np.nan], np.float32), None, "sample 1 of 2 is nan"),
    "infinite": (np.array([np.inf], np.float32), None, "not a finite number"),
    "rate": (np.zeros(100, np.float32), 8000, "8000 Hz, the model hears 16000 Hz"),
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_samples_are_refused_and_leave_the_stream_as_it_was(
    loaded: LoadedModel, name: str
) -> None:
    bad, rate, reason = BAD[name]
    stream, samples = Recognizer.of(loaded, CONTEXTS[1]).open(), sound(2.0)
    stream.push(samples[:9000])
    with pytest.raises(ValueError, match=reason):
        stream.push(bad, rate)
    stream.push(samples[9000:], 16000)
    assert stream.close().tokens == whole(loaded, samples, CONTEXTS[1]).tokens


def test_lists_and_tensors_and_doubles_are_samples_too(loaded: LoadedModel) -> None:
    samples = sound(1.0)
    kinds = (samples, torch.from_numpy(samples), samples.astype(np.float64), samples.tolist())
    results = []
    for kind in kinds:
        stream = Recognizer.of(loaded, CONTEXTS[1]).open()
        stream.push(kind)
        results.append(stream.close())
    assert results[0].tokens and all(r == results[0] for r in results)


def test_what_was_pushed_may_be_overwritten_afterwards(loaded: LoadedModel) -> None:
    recognizer, samples = Recognizer.of(loaded, CONTEXTS[1]), sound(1.5)
    stream, buffer = recognizer.open(), samples.copy()
    recognizer.accept(stream, buffer)
    buffer[:] = 0
    assert stream.close().tokens == whole(loaded, samples, CONTEXTS[1]).tokens


def test_a_closed_stream_keeps_its_result_and_takes_no_more(loaded: LoadedModel) -> None:
    stream = Recognizer.of(loaded, CONTEXTS[1]).open()
    stream.push(sound(1.5))
    result = stream.close()
    assert result.tokens and stream.close() == result
    with pytest.raises(ValueError, match="closed; open another"):
        stream.push(sound(0.1))


@pytest.mark.parametrize("num_samples", [0, 1, 300, 1500])
def test_too_little_audio_gives_no_words(loaded: LoadedModel, num_samples: int) -> None:
    stream = Recognizer.of(loaded, CONTEXTS[1]).open()
    stream.push(np.zeros(num_samples, np.float32))
    assert stream.close().seconds == num_samples / 16000
    assert len(stream.result.tokens) <= 1


@pytest.mark.parametrize("context", [Context.full(), Context(32, -1, 0)], ids=str)
def test_a_context_that_cannot_stream_is_refused(loaded: LoadedModel, context: Context) -> None:
    with pytest.raises(ValueError, match="finite chunk and a finite left context"):
        Recognizer(loaded.model, loaded.tokenizer.tokens, context)


def test_a_context_that_the_encoder_cannot_compute_names_those_it_can() -> None:
    model, tokens = trained().model, trained().tokenizer.tokens
    with pytest.raises(ValueError, match="right 40 is not a multiple.*allowed: 32 or 48"):
        Recognizer(model, tokens, Context(32, 256, 40))


def test_tokens_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="28 tokens, but the model knows 29"):
        Recognizer(trained().model, trained().tokenizer.tokens[1:], Context(32, 256))


def test_a_checkpoint_on_the_disk_becomes_a_recognizer(
    digit_strings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = read_strings(digit_strings)[0]
    with caplog.at_level(logging.WARNING):
        stream = Recognizer.from_checkpoint(CHECKPOINT, Context(32, 256, 64)).open()
        assert not caplog.records
        # It was trained on whole utterances, too, and knows a window of any length.
        Recognizer.from_checkpoint(str(CHECKPOINT), Context(32, 256, 192))
        assert not caplog.records
    stream.push(cut.load_audio()[0])
    assert stream.close().text == cut.supervisions[0].text


def test_packed_states_are_the_states() -> None:
    encoder, context = expressive_encoder(), Context(32, 128, 64)
    state = encoder.initial_state(3, context)
    with torch.no_grad():
        _, state = encoder.step(torch.randn(3, context.window + 13, 80), state, context)
    packed = state.pack()
    again = EncoderState.unpack(packed[[2, 0]], state.processed[[2, 0]], like=state)
    for found, wanted in zip(again._tensors(), state.select([2, 0])._tensors(), strict=True):
        assert (found - wanted).abs().max() == EXACT


def test_no_tensor_of_a_state_stays_behind_on_another_device(all_heads: LoadedModel) -> None:
    model, context = all_heads.model, Context(32, 128, 64)
    state = model.encoder.initial_state(2, context)
    assert {t.device.type for t in state.to("meta")._tensors()} == {"meta"}
    for kind in KINDS:
        searcher = make_searcher(model, all_heads.tokenizer.tokens, Search(kind))
        search = searcher.initial_state(2)
        parts = list(vars(search.to("meta")).values())
        inner = [vars(part).values() for part in parts if not isinstance(part, torch.Tensor)]
        tensors = [t for t in parts if isinstance(t, torch.Tensor)] + [t for p in inner for t in p]
        assert {t.device.type for t in tensors} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.gpu
def test_a_stream_may_move_to_another_device_and_back(loaded: LoadedModel) -> None:
    encoder, context = loaded.model.encoder, Context(32, 128, 64)
    other = copy.deepcopy(encoder).cuda()
    x = torch.randn(1, context.window + 13, 80)
    with torch.no_grad():
        stayed = moved = encoder.initial_state(1, context)
        for _ in range(3):
            out, stayed = encoder.step(x, stayed, context)
            there, moved = other.step(x.cuda(), moved.to("cuda"), context)
            moved = moved.to("cpu")
            assert (there.cpu() - out).abs().max() <= ENCODER
