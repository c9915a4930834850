"""The utterances with most errors, reference above hypothesis, word by word."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zipformer.evaluation.results import RECOGNIZED, read_recognized
from zipformer.evaluation.scoring import GAP, Utterance, WordErrors, count_errors
from zipformer.report.compare import Entry
from zipformer.report.markup import Markup, element

logger = logging.getLogger(__name__)

NOTHING = "\N{EN DASH}"  # stands where no word is
KINDS = {
    "sub": "heard as another word",
    "del": "said and not heard",
    "ins": "heard and not said",
}


def worst_utterances(entries: Sequence[Entry], count: int) -> list[Markup]:
    """A foldable list for every result, that of the first one open.

    Args:
        entries: Results; one whose words cannot be read is left out with a warning.
        count: Utterances of each, those with most errors.
    """
    parts: list[Markup] = []
    for entry in entries if count > 0 else []:
        try:
            utterances = read_recognized(entry.path.parent / RECOGNIZED)
        except (OSError, ValueError) as error:
            logger.warning("%s", error)
            continue
        r = entry.result
        head = f"{r.set}, {r.context}, {entry.mode}, {r.method}, {r.model}: WER {r.wer:.2f} %"
        shown = [aligned(u) for u in rank(utterances)[:count]]
        body = shown or element("p", "No utterance has an error.")
        opened = {"open": "open"} if not parts else {}
        parts.append(element("details", element("summary", head), body, **opened))
    return parts


def rank(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Those with errors, most errors first; of as many, those with the higher error rate."""
    counted = [(count_errors(u.alignment()), u) for u in utterances]
    wrong = [(errors, u) for errors, u in counted if errors.errors]
    return [u for _, u in sorted(wrong, key=lambda item: (*_badness(item[0]), item[1].cut_id))]


def aligned(utterance: Utterance) -> Markup:
    """One utterance: its errors, and a pair of words after the other."""
    alignment = utterance.alignment()
    errors = count_errors(alignment)
    words = [_pair(said, heard) for said, heard in alignment]
    total = f"{errors.errors} errors, {errors.words} words said"
    return element(
        "article",
        element("h4", utterance.cut_id, " ", element("span", total, class_="dim")),
        element("div", words, class_="pairs"),
    )


def legend() -> Markup:
    """What the colours of the pairs mean."""
    return element(
        "p",
        "Above what was said, below what was heard: ",
        [[element("b", text, class_=kind), ", "] for kind, text in KINDS.items()],
        "all else is right.",
    )


def _pair(said: str, heard: str) -> Markup:
    kind = None
    if said != heard:
        kind = "ins" if said == GAP else "del" if heard == GAP else "sub"
    return element(
        "span",
        element("span", said or NOTHING, class_="said"),
        element("span", heard or NOTHING, class_="heard"),
        class_="pair" if kind is None else f"pair {kind}",
    )


def _badness(errors: WordErrors) -> tuple[int, float]:
    return -errors.errors, -errors.errors / max(errors.words, 1)
