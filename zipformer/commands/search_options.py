"""How words are searched, as people type it: the one place that reads names of searches."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path

from zipformer.biasing import read_hotwords
from zipformer.biasing.hotwords import DEFAULT_SCORE
from zipformer.model import SpeechModel
from zipformer.search import Search, greedy_of, make_searcher
from zipformer.search.search import FIRST_PASSES, KINDS, FirstPass
from zipformer.tokens import Tokenizer

BEAM = r"-beam(-?\d+)"
NUMBER = r"(-?\d+\.?\d*(?:e-?\d+)?)"
WEIGHT = rf"-weight{NUMBER}"
CTC_WEIGHT = rf"-ctc{NUMBER}"
# What --first-pass may be, as the name of a search writes it.
BETWEEN: dict[FirstPass | None, str] = {None: "", "transducer": "-transducer", "ctc": "-ctc"}


def add_search_options(parser: ArgumentParser) -> None:
    """How words are searched."""
    parser.add_argument(
        "--method",
        type=search_argument,
        metavar="{" + ",".join(KINDS) + "}",
        help="search method (default: greedy, or ctc_greedy for a model without transducer)",
    )
    parser.add_argument(
        "--beam", type=int, help="hypotheses that a beam search follows (default: 4)"
    )
    parser.add_argument(
        "--ctc-weight",
        type=float,
        metavar="W",
        help="modified_beam_search: (1 - W) transducer + W CTC head (default: 0)",
    )
    parser.add_argument(
        "--attention-weight",
        type=float,
        metavar="W",
        help="attention_rescoring: (1 - W) first search + W attention decoder (default: 0.5)",
    )
    parser.add_argument(
        "--first-pass",
        choices=FIRST_PASSES,
        help="attention_rescoring: whose hypotheses (default: the transducer's if there is one)",
    )


def add_hotwords_options(parser: ArgumentParser) -> None:
    """Phrases that a search prefers."""
    parser.add_argument(
        "--hotwords",
        type=Path,
        metavar="FILE",
        help="phrases that a beam search prefers, one a line; ' :2.5' after one is the score of "
        "each of its tokens",
    )
    parser.add_argument(
        "--hotwords-score",
        type=float,
        metavar="X",
        help=f"of the tokens of phrases without a score (default: {DEFAULT_SCORE:g})",
    )


def search_of(options: Namespace, model: SpeechModel, tokenizer: Tokenizer) -> Search:
    """The search that ``add_search_options``, and perhaps ``add_hotwords_options``, asked for.

    Args:
        options: As parsed.
        model: To search with.
        tokenizer: Of the model.

    Raises:
        ValueError: If the model lacks a head that it needs, a number makes no sense, or as
            ``read_hotwords``.
        FileNotFoundError: As ``read_hotwords``.
    """
    search: Search = options.method or greedy_of(model)
    given = {
        "beam": options.beam,
        "weight": options.attention_weight,
        "first_pass": options.first_pass,
        "ctc_weight": options.ctc_weight,
    }
    search = replace(search, **{name: value for name, value in given.items() if value is not None})
    if "hotwords" in options:
        search = _with_hotwords(search, options.hotwords, options.hotwords_score, tokenizer)
    make_searcher(model, [], search)  # refuses what cannot be
    return search


def _with_hotwords(
    search: Search, path: Path | None, score: float | None, tokenizer: Tokenizer
) -> Search:
    if path is None:
        if score is not None:
            raise ValueError("--hotwords-score needs phrases: give them with --hotwords FILE")
        return search
    hotwords = read_hotwords(path, tokenizer, DEFAULT_SCORE if score is None else score)
    return replace(search, hotwords=hotwords)


def parse_search(text: str) -> Search:
    """Reads the name of a search, with what it depends on in the name or without.

    Example:
        >>> parse_search("modified_beam_search") == Search("modified_beam_search", beam=4)
        True
        >>> parse_search("attention_rescoring-ctc-beam8-weight0.3").first_pass
        'ctc'

    Raises:
        ValueError: If there is no such search, listing those there are.
    """
    for kind in KINDS:
        if text == kind:
            return Search(kind)
        if match := re.fullmatch(rf"{kind}{BEAM}", text):
            if kind in FIRST_PASSES.values():
                return Search(kind, int(match[1]))
    if match := re.fullmatch(rf"modified_beam_search{BEAM}{CTC_WEIGHT}", text):
        return Search("modified_beam_search", int(match[1]), ctc_weight=float(match[2]))
    for first_pass, between in BETWEEN.items():
        if match := re.fullmatch(rf"attention_rescoring{between}{BEAM}{WEIGHT}", text):
            return Search("attention_rescoring", int(match[1]), float(match[2]), first_pass)
    if "-hotwords-" in text:
        raise ValueError(
            f"the phrases of --hotwords FILE belong to {text!r}: give the file again, and "
            f"--method {text.partition('-hotwords-')[0]}"
        )
    examples = ", ".join(
        [str(Search("modified_beam_search", 8)), str(Search("attention_rescoring", 8, 0.3, "ctc"))]
    )
    raise ValueError(
        f"unknown search method {text!r}; there are: {', '.join(KINDS)}, and names such as "
        f"{examples}"
    )


def search_argument(text: str) -> Search:
    """``parse_search`` for argparse."""
    try:
        return parse_search(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
