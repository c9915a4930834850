"""The utterances with most errors, aligned word by word."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from zipformer.evaluation.results import RECOGNIZED, read_recognized
from zipformer.evaluation.scoring import GAP, Utterance, WordErrors, count_errors
from zipformer.report.compare import Entry

logger = logging.getLogger(__name__)

NO_WORD = "\N{EN DASH}"  # stands where no word is


@dataclass(frozen=True)
class WordPair:
    """A word that was said, and what was heard of it.

    Args:
        said: ``NO_WORD`` if nothing was said there.
        heard: ``NO_WORD`` if nothing was heard.
        kind: What went wrong: ``sub``, ``del``, ``ins``; empty if the word is right.
    """

    said: str
    heard: str
    kind: str


@dataclass(frozen=True)
class AlignedUtterance:
    """An utterance, word by word."""

    cut_id: str
    errors: WordErrors
    pairs: list[WordPair]


@dataclass(frozen=True)
class WorstUtterances:
    """Those of one result, and which result that is."""

    title: str
    utterances: list[AlignedUtterance]


def worst_utterances(entries: Sequence[Entry], count: int) -> list[WorstUtterances]:
    """The worst utterances of every result.

    Args:
        entries: Results; one whose words cannot be read is left out with a warning.
        count: Utterances of each, those with most errors.
    """
    found = []
    for entry in entries if count > 0 else []:
        try:
            utterances = read_recognized(entry.path.parent / RECOGNIZED)
        except (OSError, ValueError) as error:
            logger.warning("%s", error)
            continue
        r = entry.result
        title = f"{r.set}, {r.context}, {entry.mode}, {r.method}, {r.model}: "
        title += f"{r.rate_name} {r.wer:.2f} %"
        found.append(WorstUtterances(title, [aligned(u) for u in rank(utterances)[:count]]))
    return found


def rank(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Those with errors, most errors first; of as many, those with the higher error rate."""
    counted = [(count_errors(u.alignment()), u) for u in utterances]
    wrong = [(errors, u) for errors, u in counted if errors.errors]
    return [u for _, u in sorted(wrong, key=lambda item: (*_badness(item[0]), item[1].cut_id))]


def aligned(utterance: Utterance) -> AlignedUtterance:
    """One utterance: its errors, and a pair of words after the other."""
    alignment = utterance.alignment()
    pairs = [
        WordPair(said or NO_WORD, heard or NO_WORD, _kind(said, heard)) for said, heard in alignment
    ]
    return AlignedUtterance(utterance.cut_id, count_errors(alignment), pairs)


def _kind(said: str, heard: str) -> str:
    if said == heard:
        return ""
    if said == GAP:
        return "ins"
    return "del" if heard == GAP else "sub"


def _badness(errors: WordErrors) -> tuple[int, float]:
    return -errors.errors, -errors.errors / max(errors.words, 1)
