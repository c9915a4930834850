"""Whether two results may be compared, and what to say if they may not."""

from __future__ import annotations

from collections.abc import Collection

from zipformer.evaluation.results import Result

DATA, SETTINGS, CODE, DIRTY = "data", "settings", "code", "uncommitted"
UNSURE = "?"  # after one of these: results of older versions do not say

EXPLAINED = {
    DATA: "Rows marked data were trained on other data than the first row.",
    SETTINGS: "Rows marked settings were trained with other settings than the first row.",
    CODE: "Rows marked code were trained or decoded by other code than the first row.",
    DIRTY: "Rows marked uncommitted come from code with changes that no commit holds.",
    UNSURE: "A question mark says that it cannot be told: some results do not hold it.",
}


def same_set(a: Result, b: Result) -> bool:
    """Whether two results are on the same utterances, scored alike, as far as can be told."""
    if (a.unit, a.merge_compounds) != (b.unit, b.merge_compounds):
        return False
    if a.references is not None and b.references is not None:
        return a.references == b.references
    return (a.words, a.utterances) == (b.words, b.utterances)


def marks_of(result: Result, reference: Result) -> list[str]:
    """What a result has other than a reference, apart from what its row says."""
    pairs = [
        (DATA, result.train_data, reference.train_data),
        (SETTINGS, result.train_settings, reference.train_settings),
        (CODE, result.git_commit, reference.git_commit),
        (CODE, result.train_commit, reference.train_commit),
    ]
    found = []
    for name, own, other in pairs:
        if own != other:
            found.append(name if own and other else name + UNSURE)
    if CODE in found:
        found = [mark for mark in found if mark != CODE + UNSURE]
    if any(
        commit and commit.endswith("-dirty") for commit in (result.git_commit, result.train_commit)
    ):
        found.append(DIRTY)
    return list(dict.fromkeys(found))


def explain(marks: Collection[str]) -> list[str]:
    """A sentence for each kind of mark."""
    kinds = {mark.rstrip(UNSURE) for mark in marks}
    if any(mark.endswith(UNSURE) for mark in marks):
        kinds.add(UNSURE)
    return [text for kind, text in EXPLAINED.items() if kind in kinds]
