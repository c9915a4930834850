"""Result folders: what decoding writes, and all that comparing reads.

``exp/<run>/decode/<set>_<method>_<context>_<mode>_<checkpoint>/`` holds

    recogs.txt   two lines an utterance: what was said, what was heard
    errs.txt     the errors, by utterance and by word
    wer.json     the figures, one ``Result``

``wer.json`` comes last: where it is, the other two are whole and belong to it.
"""

from __future__ import annotations

import ast
import json
import logging
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from zipformer.context import Context
from zipformer.evaluation.error_report import error_report
from zipformer.evaluation.phrases import PhraseErrors, read_phrase_errors
from zipformer.evaluation.scoring import Utterance, WordErrors
from zipformer.files import write_text
from zipformer.tokens.scoring import RATES

logger = logging.getLogger(__name__)

FIGURES = "wer.json"
RECOGNIZED = "recogs.txt"
ERRORS = "errs.txt"
# Figures that a file has only where they are not as they were before anything else could be.
NEW = {"unit": "word", "cer": None, "merge_compounds": False, "hotwords": None}

Mode = Literal["windowed", "masked", "stream", "padded"]
LIVE: tuple[Mode, ...] = ("stream", "padded")  # live streams hear the audio


@dataclass(frozen=True)
class Result:
    """The figures of one test set, decoded in one way.

    Args:
        set: Name of the test set.
        method: Search method, as in ``greedy``.
        context: As ``Context`` writes it: ``full`` or chunk/left/right in frames of 10 ms.
        right_mode: How right context was computed: ``windowed`` (what a stream computes),
            ``masked`` (look-ahead accumulates over layers), ``stream`` (step by step).
        streamable: Whether a live stream of this context gives these words.
        latency_ms: Algorithmic latency, 10 x (chunk + right + 13) ms; None when full.
        wer: Error rate in percent.
        insertions: Words heard that nobody said.
        deletions: Words said that were not heard.
        substitutions: Words heard as others.
        words: Reference words.
        utterances: Utterances of the set.
        audio_seconds: Length of the set.
        compute_seconds: Time that encoder and search took.
        rtf: Real-time factor, compute_seconds / audio_seconds.
        device: Where that was.
        model: Which weights: ``epoch30-avg9``.
        checkpoint: File name of the last checkpoint of these.
        train_steps: Training steps that they have had.
        git_commit: Of the code, ``-dirty`` appended if files differed from it; None if unknown.
        torch_version: Of the library.
        references: Fingerprint of the utterances' names and texts. Older files have neither this
            nor what follows.
        train_audio_seconds: Audio that the weights were trained on, repeats counted; 0 = unknown.
        train_seconds: What that took, by the clock; 0 = unknown.
        train_data: Fingerprint of the training data; None if unknown.
        train_settings: Fingerprint of the run's settings, but for paths and the seed.
        train_commit: Of the code that trained; None if unknown.
        chosen: Why these weights, where ``--epoch auto`` picked them.
        unit: What was counted as words: ``word``, ``char``, or ``mixed`` for Chinese or Japanese
            characters beside words.
        cer: The same as ``wer`` where characters were counted; else None.
        merge_compounds: Whether words in one and in two were the same (``scoring``).
        hotwords: What became of the phrases that the search preferred; else None.
    """

    set: str
    method: str
    context: str
    right_mode: Mode
    streamable: bool
    latency_ms: int | None
    wer: float
    insertions: int
    deletions: int
    substitutions: int
    words: int
    utterances: int
    audio_seconds: float
    compute_seconds: float
    rtf: float
    device: str
    model: str
    checkpoint: str
    train_steps: int
    git_commit: str | None
    torch_version: str
    references: str | None = None
    train_audio_seconds: float = 0.0
    train_seconds: float = 0.0
    train_data: str | None = None
    train_settings: str | None = None
    train_commit: str | None = None
    chosen: str | None = None
    unit: str = "word"
    cer: float | None = None
    merge_compounds: bool = False
    hotwords: PhraseErrors | None = None

    @property
    def folder(self) -> str:
        """Name of the folder for it."""
        slug = Context.parse(self.context).slug
        return f"{self.set}_{self.method}_{slug}_{self.right_mode}_{self.model}"

    @property
    def rate_name(self) -> str:
        """What its error rate is called: WER, CER or MER."""
        return RATES.get(self.unit, "WER")

    @property
    def errors(self) -> WordErrors:
        """The error counts."""
        return WordErrors(self.insertions, self.deletions, self.substitutions, self.words)


def is_streamable(context: Context, right_mode: Mode) -> bool:
    """Whether a live stream gives the words that decoding with ``right_mode`` gave.

    Not at full context or with unlimited left context, which no stream has; and not when look-ahead
    accumulated over the layers, as it does in ``masked`` with right context.
    """
    return context.streams and not (right_mode == "masked" and context.right > 0)


def write_result(decode_dir: Path, result: Result, utterances: Sequence[Utterance]) -> Path:
    """Writes the folder of a result, replacing an earlier one of the same utterances.

    One of other utterances is kept, in the folder ``replaced``.

    Args:
        decode_dir: ``exp/<run>/decode``.
        result: The figures.
        utterances: What they count; sorted by cut id in the files.

    Returns:
        The folder.
    """
    folder = decode_dir / result.folder
    _keep_apart(folder, result)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FIGURES).unlink(missing_ok=True)  # the old figures never stand beside new words
    ordered = sorted(utterances, key=lambda u: u.cut_id)
    write_text(folder / RECOGNIZED, "\n".join(_recognized(ordered)))
    write_text(folder / ERRORS, "\n".join(error_report(ordered, result.rate_name)))
    values = {k: v for k, v in asdict(result).items() if k not in NEW or v != NEW[k]}
    write_text(folder / FIGURES, json.dumps(values, indent=2))
    return folder


def _keep_apart(folder: Path, result: Result) -> None:
    """Moves an earlier result away that is of other utterances than the one to come."""
    try:
        earlier = read_result(folder / FIGURES)
    except ValueError:  # none, or one that nobody can read
        return
    if None in (earlier.references, result.references) or earlier.references == result.references:
        return
    target = folder.parent / "replaced" / f"{folder.name}_{earlier.references}"
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    folder.rename(target)
    logger.warning(
        "an earlier result of this name is of other utterances (%d against %d): it is now %s",
        earlier.utterances,
        result.utterances,
        target,
    )


def read_result(path: Path) -> Result:
    """Reads a ``wer.json``; fields that a newer version has added are passed over.

    Raises:
        ValueError: Naming the file and what is wrong with it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); decode again to replace it") from error
    needed = [f.name for f in fields(Result) if f.default is MISSING]
    if not isinstance(content, dict) or (missing := [n for n in needed if n not in content]):
        what = f"no {', '.join(missing)}" if isinstance(content, dict) else "not an object"
        raise ValueError(f"{path} is not the figures of a result ({what}); decode again")
    try:
        context = Context.parse(content["context"])
        number = float(content["wer"])
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds a wrong value: {error}") from error
    if content["latency_ms"] != context.latency_ms:
        raise ValueError(
            f"{path}: latency_ms is {content['latency_ms']}, but context {context} has "
            f"{context.latency_ms}"
        )
    known = {f.name for f in fields(Result)}
    content["hotwords"] = read_phrase_errors(content.get("hotwords"))
    return Result(**{k: v for k, v in content.items() if k in known} | {"wer": number})


def read_recognized(path: Path) -> list[Utterance]:
    """Reads a ``recogs.txt`` back.

    Raises:
        ValueError: Naming the file and the line that is not as ``write_result`` writes it.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        match = re.fullmatch(r"(.*):\t(ref|hyp)=(\[.*\])", line)
        try:
            if match is None:
                raise ValueError("no words")
            found.setdefault(match[1], {})[match[2]] = tuple(ast.literal_eval(match[3]))
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"{path}, line {number}, is damaged: {line[:60]!r}") from error
    if cut := next((c for c, lines in found.items() if len(lines) < 2), None):
        raise ValueError(f"{path}: cut {cut} has not both lines, ref and hyp; decode again")
    return [Utterance(cut_id, lines["ref"], lines["hyp"]) for cut_id, lines in found.items()]


def _recognized(utterances: Iterable[Utterance]) -> list[str]:
    lines = []
    for utterance in utterances:
        lines.append(f"{utterance.cut_id}:\tref={list(utterance.reference)}")
        lines.append(f"{utterance.cut_id}:\thyp={list(utterance.hypothesis)}")
    return lines
