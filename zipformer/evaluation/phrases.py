"""What became of the phrases that a search preferred: found, missed, heard where nobody said them.

An occurrence is a run of words that is a phrase, wherever it stands, within another one too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from zipformer.biasing import Hotwords
from zipformer.evaluation.scoring import GAP, Utterance
from zipformer.tokens.scoring import Scorer

Words = tuple[str, ...]


@dataclass(frozen=True)
class PhraseErrors:
    """Counts over a set; a word belongs to the phrases if an occurrence covers it.

    Args:
        file: Name of the list of phrases.
        phrases: Phrases of the list.
        said: Occurrences in what was said.
        found: Those that were heard: of each phrase, as many as an utterance has on both sides.
        false_alarms: Occurrences in what was heard beyond those.
        words: Words said that belong to the phrases.
        errors: Those of them that were deleted or heard as others, and words inserted that belong
            to phrases.
        other_words: All other words said.
        other_errors: All other errors.
    """

    file: str
    phrases: int
    said: int = 0
    found: int = 0
    false_alarms: int = 0
    words: int = 0
    errors: int = 0
    other_words: int = 0
    other_errors: int = 0

    def __str__(self) -> str:
        return (
            f"phrases found {_share(self.found, self.said)}, {self.false_alarms} false alarms; "
            f"errors in their words {_share(self.errors, self.words)}, "
            f"in others {_share(self.other_errors, self.other_words)}"
        )


def phrase_errors(
    hotwords: Hotwords, utterances: Iterable[Utterance], scorer: Scorer
) -> PhraseErrors:
    """The errors of the phrases of a list over scored utterances.

    Args:
        hotwords: The list; phrases with a negative score, which are to be avoided, count too.
        utterances: As scored.
        scorer: What cut them; it cuts the phrases as well.
    """
    phrases = {scorer.units(phrase.text) for phrase in hotwords.phrases} - {()}
    by_first: dict[str, list[Words]] = defaultdict(list)
    for phrase in phrases:
        by_first[phrase[0]].append(phrase)
    counts = {name: 0 for name in ("said", "found", "false_alarms")}
    errors = {True: 0, False: 0}  # by whether they belong to phrases
    words = {True: 0, False: 0}
    for utterance in utterances:
        pairs = utterance.alignment()
        said, heard = (_occurrences(pairs, side, by_first) for side in (0, 1))
        both = sum((_counted(said) & _counted(heard)).values())
        counts["said"] += len(said)
        counts["found"] += both
        counts["false_alarms"] += len(heard) - both
        of_said, of_heard = ({i for _, where in side for i in where} for side in (said, heard))
        for i, (reference, hypothesis) in enumerate(pairs):
            belongs = i in (of_said if reference != GAP else of_heard)
            words[belongs] += reference != GAP
            errors[belongs] += reference != hypothesis
    return PhraseErrors(
        file=hotwords.name,
        phrases=len(hotwords.phrases),
        words=words[True],
        errors=errors[True],
        other_words=words[False],
        other_errors=errors[False],
        **counts,
    )


def read_phrase_errors(content: object) -> PhraseErrors | None:
    """What a ``wer.json`` says of phrases; None where it says nothing that is understood."""
    if not isinstance(content, dict):
        return None
    known = {f.name for f in fields(PhraseErrors)}
    try:
        return PhraseErrors(**{k: v for k, v in content.items() if k in known})
    except TypeError:  # something is missing
        return None


def _occurrences(
    pairs: Sequence[tuple[str, str]], side: int, by_first: dict[str, list[Words]]
) -> list[tuple[Words, list[int]]]:
    """Phrases on one side of an alignment, each with the places of its pairs."""
    places = [i for i, pair in enumerate(pairs) if pair[side] != GAP]
    words = tuple(pairs[i][side] for i in places)
    return [
        (phrase, places[i : i + len(phrase)])
        for i, word in enumerate(words)
        for phrase in by_first.get(word, ())
        if words[i : i + len(phrase)] == phrase
    ]


def _counted(occurrences: Sequence[tuple[Words, list[int]]]) -> Counter[Words]:
    return Counter(phrase for phrase, _ in occurrences)


def _share(part: int, whole: int) -> str:
    percent = f" ({100 * part / whole:.2f} %)" if whole else ""
    return f"{part} / {whole}{percent}"
