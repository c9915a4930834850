"""What clients of a server may choose when they connect, and the recognizers for it.

    ws://localhost:6006/?right=64&beam=4&provisional=0

``chunk``, ``left`` and ``right`` pick among the contexts that are offered: the first one that fits;
``chunk=full`` hears the whole utterance. ``beam`` is the number of hypotheses, 1 for greedy search;
``provisional=0`` leaves out how the text may go on, ``words=1`` lists the words with their times.
``rate`` (Hz) and ``format`` (``float32`` or ``int16``) say how the audio comes. Who says nothing
gets the first context and the search of the server, and sends floats at the rate of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import parse_qs

from zipformer.context import UNLIMITED, Context
from zipformer.search import Search
from zipformer.search.search import FIRST_PASSES
from zipformer.serving.messages import (
    ENCODINGS,
    POLICY,
    RATES,
    AudioFormat,
    Encoding,
    Refused,
)
from zipformer.streaming.recognizer import Recognizer

SIZES = ("chunk", "left", "right")  # frames of 10 ms
KEYS = (*SIZES, "beam", "provisional", "words", "rate", "format")
FULL = "full"
WIDEST_BEAM = 16


@dataclass(frozen=True)
class Choice:
    """What one client gets.

    Args:
        context: One of those that are offered.
        search: How to search.
        provisional: Whether messages say how the text may go on, which costs some computing.
        words: Whether messages list the words with their times.
        audio: How the client sends it.
    """

    context: Context
    search: Search
    provisional: bool = True
    words: bool = False
    audio: AudioFormat = AudioFormat()


class Offer:
    """What clients may choose.

    Args:
        contexts: To choose among; the first one is for those who do not choose.
        make: The recognizer of a context, with the search for those who do not choose; it may take
            its time, on a CPU some seconds.
        provisional: For those who do not choose.

    Raises:
        ValueError: If there is no context.
    """

    def __init__(
        self,
        contexts: Sequence[Context],
        make: Callable[[Context], Recognizer],
        provisional: bool = True,
    ) -> None:
        if not contexts:
            raise ValueError("a server needs a context to offer")
        self.contexts = tuple(contexts)
        self._make = make
        first = make(self.contexts[0])
        self.default = Choice(first.context, first.search, provisional)
        self.sample_rate = first.sample_rate
        self._made = {(first.context, first.search): first}

    @classmethod
    def only(cls, recognizer: Recognizer) -> Self:
        """No other context than that of a recognizer, which is used by nobody else."""
        return cls([recognizer.context], lambda context: recognizer)

    def parse(self, address: str) -> Choice:
        """What a client asks for.

        Args:
            address: Path and query, as in ``/?right=64``.

        Raises:
            Refused: On keys and values that are unknown, and on what is not offered.
        """
        asked = parse_qs(address.partition("?")[2], keep_blank_values=True)
        for key, values in asked.items():
            if key not in KEYS:
                raise Refused(POLICY, f"unknown key {key!r}: there are {', '.join(KEYS)}")
            if len(values) > 1:
                raise Refused(POLICY, f"{key} has {len(values)} values: {', '.join(values)}")
        encoding = _encoding(asked.pop("format", ["float32"])[0])
        numbers = {key: _whole_number(key, values[0]) for key, values in asked.items()}
        return Choice(
            context=self._context({key: numbers[key] for key in SIZES if key in numbers}),
            search=self._search(numbers["beam"]) if "beam" in numbers else self.default.search,
            provisional=bool(numbers.get("provisional", self.default.provisional)),
            words=bool(numbers.get("words", False)),
            audio=AudioFormat(_rate(numbers.get("rate")), encoding),
        )

    def recognizer(self, choice: Choice) -> Recognizer | None:
        """The recognizer for a choice, if there is one already."""
        return self._made.get((choice.context, choice.search))

    def make(self, choice: Choice) -> Recognizer:
        """The recognizer for a choice, made if need be and kept; searches share its encoder.

        Raises:
            ValueError: If the model lacks a head for the search.
        """
        first = choice.context, self.default.search
        if first not in self._made:
            self._made[first] = self._make(choice.context)
        key = choice.context, choice.search
        if key not in self._made:
            self._made[key] = self._made[first].searching(choice.search)
        return self._made[key]

    def _context(self, sizes: dict[str, int]) -> Context:
        for context in self.contexts:
            if all(getattr(context, key) == size for key, size in sizes.items()):
                return context
        wanted = ", ".join(
            f"{key} {FULL if size == UNLIMITED else size}" for key, size in sizes.items()
        )
        offered = ", ".join(map(str, self.contexts))
        raise Refused(POLICY, f"no context with {wanted}: chunk/left/right may be {offered}")

    def _search(self, beam: int) -> Search:
        """The server's own search with another beam; or the one over the same head that has one."""
        if not 1 <= beam <= WIDEST_BEAM:
            raise Refused(POLICY, f"beam {beam}: from 1, which is greedy search, to {WIDEST_BEAM}")
        search = self.default.search
        over_ctc = search.kind.startswith("ctc") or search.first_pass == "ctc"
        if beam == 1:
            return Search("ctc_greedy" if over_ctc else "greedy")
        if search.kind in ("greedy", "ctc_greedy"):
            return Search(FIRST_PASSES["ctc" if over_ctc else "transducer"], beam)
        return replace(search, beam=beam)


def _encoding(value: str) -> Encoding:
    for encoding in ENCODINGS:
        if value == encoding:
            return encoding
    raise Refused(POLICY, f"format={value[:20]}: samples may be {' or '.join(ENCODINGS)}")


def _rate(rate: int | None) -> int | None:
    if rate is not None and rate not in RATES:
        raise Refused(POLICY, f"rate {rate}: from {RATES.start} to {RATES.stop - 1} Hz")
    return rate


def _whole_number(key: str, value: str) -> int:
    """The number in a query, which for a switch is 0 or 1; ``chunk=full`` is -1."""
    if (key, value) == ("chunk", FULL):
        return UNLIMITED
    switch = key in ("provisional", "words")
    most = 1 if switch else 10**6
    possible = value.isascii() and value.isdecimal() and len(value) < len(str(most)) + 1
    if not possible or int(value) > most:
        what = "0 or 1" if switch else "a whole number"
        raise Refused(POLICY, f"{key}={value[:20]}: {key} is {what}")
    return int(value)
