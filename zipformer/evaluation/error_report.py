"""What was heard wrong, for a person: the lines of ``errs.txt``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zipformer.evaluation.scoring import GAP, Utterance, WordErrors, count_errors


def error_report(utterances: Sequence[Utterance], rate: str = "WER") -> list[str]:
    """The lines of ``errs.txt``: totals, every utterance aligned, and the errors by word.

    Args:
        utterances: In their order.
        rate: What the error rate is called.
    """
    alignments = [utterance.alignment() for utterance in utterances]
    total = sum((count_errors(alignment) for alignment in alignments), WordErrors())
    lines = [
        f"%{rate} = {total.wer:.2f}",
        f"Errors: {total.insertions} insertions, {total.deletions} deletions, "
        f"{total.substitutions} substitutions, over {total.words} reference words "
        f"({total.correct} correct)",
        "Jump to a section by searching for its heading: PER-UTT DETAILS, SUBSTITUTIONS, "
        "DELETIONS, INSERTIONS, PER-WORD STATS",
        "",
        "PER-UTT DETAILS: words that differ as (said->heard), * for no word",
    ]
    for utterance, alignment in zip(utterances, alignments, strict=True):
        words = (said if said == heard else _pair(said, heard) for said, heard in alignment)
        lines.append(f"{utterance.cut_id}:\t{' '.join(words)}")
    return lines + _by_kind(alignments) + _by_word(alignments)


def _by_kind(alignments: Sequence[list[tuple[str, str]]]) -> list[str]:
    pairs = Counter(pair for alignment in alignments for pair in alignment if pair[0] != pair[1])
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    lines = ["", "SUBSTITUTIONS: count said->heard"]
    lines += [f"{n}\t{said} -> {heard}" for (said, heard), n in ordered if said and heard]
    lines += ["", "DELETIONS: count word"]
    lines += [f"{n}\t{said}" for (said, heard), n in ordered if heard == GAP]
    lines += ["", "INSERTIONS: count word"]
    return lines + [f"{n}\t{heard}" for (said, heard), n in ordered if said == GAP]


def _by_word(alignments: Sequence[list[tuple[str, str]]]) -> list[str]:
    correct, said_wrong, heard_wrong = Counter[str](), Counter[str](), Counter[str]()
    for alignment in alignments:
        for said, heard in alignment:
            if said == heard:
                correct[said] += 1
            else:
                said_wrong[said] += 1
                heard_wrong[heard] += 1
    wrong = said_wrong + heard_wrong
    words = (correct.keys() | wrong.keys()) - {GAP}
    lines = ["", "PER-WORD STATS: word, errors, times said, times heard, times correct"]
    for word in sorted(words, key=lambda w: (-wrong[w], w)):
        right = correct[word]
        times = f"{right + said_wrong[word]}\t{right + heard_wrong[word]}\t{right}"
        lines.append(f"{word}\t{wrong[word]}\t{times}")
    return lines


def _pair(said: str, heard: str) -> str:
    return f"({said or '*'}->{heard or '*'})"
