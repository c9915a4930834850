"""What a client may choose in the address, and what it is told when it may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_run import ALL_HEADS, tiny_run

from zipformer import Context
from zipformer.checkpoint.loading import LoadedModel
from zipformer.search import Search
from zipformer.serving.messages import AudioFormat, Refused
from zipformer.serving.offer import Choice, Offer
from zipformer.streaming import Recognizer

CONTEXTS = [Context(32, 128), Context(32, 128, 64), Context(64, 128, 64), Context.full()]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"), ALL_HEADS)


@pytest.fixture(scope="module")
def offer(loaded: LoadedModel) -> Offer:
    return Offer(CONTEXTS, lambda context: Recognizer.of(loaded, context))


@pytest.mark.parametrize(
    ("address", "context", "search", "provisional"),
    [
        ("/", CONTEXTS[0], "greedy", True),
        ("", CONTEXTS[0], "greedy", True),
        ("//[?right=64", CONTEXTS[1], "greedy", True),  # no address that a library would read
        ("/any/path?right=64", CONTEXTS[1], "greedy", True),
        ("/?chunk=64", CONTEXTS[2], "greedy", True),
        ("/?chunk=32&left=128&right=64&provisional=0", CONTEXTS[1], "greedy", False),
        ("/?beam=1&provisional=1", CONTEXTS[0], "greedy", True),
        ("/?chunk=full", CONTEXTS[3], "greedy", True),
        ("/?beam=8", CONTEXTS[0], "modified_beam_search-beam8", True),
    ],
)
def test_the_first_context_that_fits_is_taken(
    offer: Offer, address: str, context: Context, search: str, provisional: bool
) -> None:
    choice = offer.parse(address)
    assert (choice.context, str(choice.search)) == (context, search)
    assert choice.provisional == provisional


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("right=32", "no context with right 32: chunk/left/right may be 32/128/0, 32/128/64, 64/"),
        ("chunk=64&right=0", "no context with chunk 64, right 0: "),
        ("rihgt=64", "unknown key 'rihgt': there are chunk, left, right, beam, provisional, words"),
        ("right=0&right=64", "right has 2 values: 0, 64"),
        ("right=nan", "right=nan: right is a whole number"),
        ("right=-1", "right is a whole number"),
        ("right=", "right=: right is a whole number"),
        ("right=64.0", "right is a whole number"),
        ("right=\u0663", "right is a whole number"),
        ("right=" + "9" * 5000, "right is a whole number"),
        ("beam=0", "beam 0: from 1, which is greedy search, to 16"),
        ("beam=1000", "beam 1000: from 1"),
        ("provisional=2", "provisional=2: provisional is 0 or 1"),
        ("words=yes", "words=yes: words is 0 or 1"),
        ("right=full", "right=full: right is a whole number"),
        ("chunk=-1", "chunk=-1: chunk is a whole number"),
        ("chunk=full&right=64", "no context with chunk full, right 64: "),
        ("rate=0", "rate 0: from 4000 to 192000 Hz"),
        ("rate=44.1", "rate=44.1: rate is a whole number"),
        ("format=mp3", "format=mp3: samples may be float32 or int16"),
        ("format=", "format=: samples may be float32 or int16"),
    ],
)
def test_what_is_not_offered_is_refused_with_what_is(offer: Offer, query: str, reason: str) -> None:
    with pytest.raises(Refused, match=f"^{re.escape(reason)}|{re.escape(reason)}$") as refused:
        offer.parse(f"/?{query}")
    assert refused.value.code == 1008


def test_audio_is_as_the_client_says(offer: Offer) -> None:
    assert offer.parse("/").audio == AudioFormat(None, "float32")
    assert offer.parse("/?rate=8000&format=int16").audio == AudioFormat(8000, "int16")
    assert offer.parse("/?words=1").words and not offer.parse("/").words


def test_recognizers_are_made_once_and_searches_share_an_encoder(loaded: LoadedModel) -> None:
    made: list[Context] = []

    def make(context: Context) -> Recognizer:
        made.append(context)
        return Recognizer.of(loaded, context)

    offer = Offer(CONTEXTS, make)
    greedy, beam = offer.parse("/?right=64"), offer.parse("/?right=64&beam=4")
    assert offer.recognizer(offer.default) and offer.recognizer(greedy) is None
    first = offer.make(beam)
    assert offer.make(beam) is first and offer.recognizer(beam) is first
    assert offer.make(greedy).search == Search("greedy")
    assert offer.make(greedy)._encode is first._encode
    assert made == CONTEXTS[:2]


def test_a_beam_is_of_the_head_that_the_server_listens_to(loaded: LoadedModel) -> None:
    search = Search("modified_beam_search", 4, ctc_weight=0.3)
    both = Offer(CONTEXTS, lambda c: Recognizer.of(loaded, c).searching(search))
    assert both.parse("/?beam=8").search == Search("modified_beam_search", 8, ctc_weight=0.3)
    ctc = Offer(CONTEXTS, lambda c: Recognizer.of(loaded, c, Search("ctc_greedy")))
    assert ctc.parse("/?beam=4").search == Search("ctc_prefix_beam_search", 4)
    assert ctc.parse("/?beam=1").search == Search("ctc_greedy")
    assert ctc.default == Choice(CONTEXTS[0], Search("ctc_greedy"))


def test_one_recognizer_is_an_offer(loaded: LoadedModel, tmp_path: Path) -> None:
    recognizer = Recognizer.of(loaded, CONTEXTS[1])
    offer = Offer.only(recognizer)
    assert offer.contexts == (CONTEXTS[1],)
    assert offer.recognizer(offer.default) is recognizer
    with pytest.raises(ValueError, match="needs a context"):
        Offer([], lambda context: recognizer)
