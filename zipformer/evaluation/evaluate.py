"""One model over one test set at one context: words, errors, figures, files."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from zipformer.checkpoint.fingerprint import settings_fingerprint
from zipformer.checkpoint.loading import LoadedModel
from zipformer.checkpoint.provenance import git_commit, known_provenance
from zipformer.context import Context
from zipformer.data.loader import Batch, eval_batches
from zipformer.data.manifests import check_manifest, count_cuts, read_cuts, text_of
from zipformer.evaluation.live import decode_live
from zipformer.evaluation.phrases import phrase_errors
from zipformer.evaluation.results import LIVE, Mode, Result, is_streamable, write_result
from zipformer.evaluation.scoring import Utterance, references_fingerprint, total_errors
from zipformer.files import check_writable
from zipformer.progress import Progress
from zipformer.search import Search, greedy_of, make_searcher
from zipformer.search.protocol import Hypothesis, Searcher
from zipformer.streaming import Recognizer
from zipformer.tokens.scoring import Scorer, unit_of

logger = logging.getLogger(__name__)


@dataclass
class Decoded:
    """What decoding a set gave.

    Args:
        utterances: References and hypotheses, in the order of decoding.
        audio_seconds: Length of the audio.
        compute_seconds: Time that encoder and search took, and features where live streams heard
            the audio; reading is not counted.
    """

    utterances: list[Utterance] = field(default_factory=list)
    audio_seconds: float = 0.0
    compute_seconds: float = 0.0


def decode_batches(
    loaded: LoadedModel,
    batches: Iterable[Batch],
    context: Context,
    right_mode: Mode = "windowed",
    search: Search | None = None,
    progress: Progress | None = None,
) -> Decoded:
    """Decodes batches one after another; ``progress`` counts utterances.

    Raises:
        MemoryError: If a batch does not fit into the memory of the device, saying what to lower.
    """
    searcher = make_searcher(loaded.model.heads_at(context), loaded.tokenizer.pieces, search)
    decoded, scorer = Decoded(), Scorer(loaded.config.scoring, loaded.tokenizer)
    device = next(loaded.model.parameters()).device
    for batch in batches:
        began = time.perf_counter()
        try:
            hypotheses = _decode_batch(loaded, searcher, batch.to(device), context, right_mode)
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"out of memory on a batch of {len(batch.cut_ids)} utterances, "
                f"{batch.seconds:.0f} s, at context {context}: lower --max-duration"
            ) from error
        decoded.compute_seconds += time.perf_counter() - began
        decoded.audio_seconds += batch.seconds
        for cut_id, text, hypothesis in zip(batch.cut_ids, batch.texts, hypotheses, strict=True):
            heard = loaded.tokenizer.decode(hypothesis.tokens)
            decoded.utterances.append(Utterance.scored(scorer, cut_id, text, heard))
        if progress is not None:
            progress.add(len(batch.cut_ids))
    return decoded


def decode_streams(
    loaded: LoadedModel,
    cuts_path: Path,
    context: Context,
    search: Search | None = None,
    limit: int = 0,
    padded: bool = False,
    progress: Progress | None = None,
) -> Decoded:
    """Lets live streams hear the audio of a manifest; arguments as in ``evaluate``."""
    recognizer = Recognizer.of(loaded, context, search)
    decoded, scorer = Decoded(), Scorer(loaded.config.scoring, loaded.tokenizer)
    cuts = islice(read_cuts(cuts_path), limit or None)
    for heard in decode_live(recognizer, cuts, padded=padded):
        decoded.compute_seconds += heard.compute_seconds
        decoded.audio_seconds += heard.cut.duration
        said, text = text_of(heard.cut), heard.result.text
        decoded.utterances.append(Utterance.scored(scorer, heard.cut.id, said, text))
        if progress is not None:
            progress.add(1)
    return decoded


def evaluate(
    loaded: LoadedModel,
    cuts_path: Path,
    set_name: str,
    context: Context,
    right_mode: Mode = "windowed",
    search: Search | None = None,
    max_duration: float | None = None,
    limit: int = 0,
    decode_dir: Path | None = None,
    chosen: str | None = None,
) -> Result:
    """Decodes and scores a test set, and writes its result folder.

    Args:
        loaded: The model, on the device to use.
        cuts_path: Manifest of the set.
        set_name: Its name in folders and tables.
        context: What the encoder sees.
        right_mode: ``windowed`` gives the words of a stream in batches of whole utterances,
            ``stream`` lets live streams hear the audio itself, ``padded`` as well, with silence
            after it in place of an end; ``masked`` gives other words.
        search: How to search; greedily by default.
        max_duration: Seconds of audio in a batch; by default the config's.
        limit: Only so many cuts; 0 = all.
        decode_dir: Where the folder goes; ``decode`` beside the checkpoint by default.
        chosen: Why these weights, if they were picked (see ``selection``).

    Raises:
        FileNotFoundError: If there is no such manifest.
        ValueError: On a context that the model cannot compute, or a set without reference words.
    """
    if not re.fullmatch(r"[A-Za-z0-9.+-]+(_[A-Za-z0-9.+-]+)*", set_name):
        raise ValueError(f"set name {set_name!r}: use letters, digits and . + - _ between them")
    if not Path(cuts_path).exists():
        raise FileNotFoundError(f"set {set_name}: there is no manifest {cuts_path}")
    check_manifest(cuts_path)
    loaded.check_context(context, live=right_mode in LIVE)
    search = search or greedy_of(loaded.model)
    decode_dir = decode_dir or loaded.path.parent / "decode"
    check_writable(decode_dir, "choose another folder (--out)")
    title, total = f"[{set_name}, {context}, {right_mode}]", count_cuts(cuts_path)
    total = min(total, limit) if limit else total
    with Progress(title, total, "utterances") as progress:
        if right_mode in LIVE:
            padded = right_mode == "padded"
            decoded = decode_streams(
                loaded, Path(cuts_path), context, search, limit, padded, progress
            )
        else:
            batches = eval_batches(
                Path(cuts_path), loaded.tokenizer, loaded.config.data, max_duration, limit
            )
            decoded = decode_batches(loaded, batches, context, right_mode, search, progress)
    result = summarize(loaded, decoded, set_name, context, right_mode, search, chosen)
    folder = write_result(decode_dir, result, decoded.utterances)
    logger.info("%s %s %s, in %s", title, result.rate_name, result.errors, folder)
    return result


def summarize(
    loaded: LoadedModel,
    decoded: Decoded,
    set_name: str,
    context: Context,
    right_mode: Mode,
    search: Search,
    chosen: str | None = None,
) -> Result:
    """The figures of a decoded set.

    Raises:
        ValueError: If the set holds no reference words.
    """
    errors = total_errors(decoded.utterances)
    if not errors.words:
        raise ValueError(
            f"set {set_name}: no reference words in {len(decoded.utterances)} utterances, "
            "so there is no error rate; does the manifest have texts in its supervisions?"
        )
    unit = unit_of(loaded.config.scoring, (u.reference for u in decoded.utterances))
    phrases = None
    if search.hotwords is not None:
        scorer = Scorer(loaded.config.scoring, loaded.tokenizer)
        phrases = phrase_errors(search.hotwords, decoded.utterances, scorer)
    trained = known_provenance(loaded.provenance, loaded.config.data)
    return Result(
        set=set_name,
        method=str(search),
        context=str(context),
        right_mode=right_mode,
        streamable=is_streamable(context, right_mode),
        latency_ms=context.latency_ms,
        wer=round(errors.wer, 4),
        insertions=errors.insertions,
        deletions=errors.deletions,
        substitutions=errors.substitutions,
        words=errors.words,
        utterances=len(decoded.utterances),
        audio_seconds=round(decoded.audio_seconds, 3),
        compute_seconds=round(decoded.compute_seconds, 3),
        rtf=round(decoded.compute_seconds / max(decoded.audio_seconds, 1e-9), 6),
        device=_device_name(next(loaded.model.parameters()).device),
        model=loaded.label,
        checkpoint=loaded.path.name,
        train_steps=loaded.steps,
        git_commit=git_commit(),
        torch_version=str(torch.__version__),
        references=references_fingerprint(decoded.utterances),
        train_audio_seconds=round(loaded.audio_seconds, 3),
        train_seconds=round(loaded.train_seconds, 3),
        train_data=trained["data"],
        train_settings=settings_fingerprint(loaded.config),
        train_commit=trained["git_commit"],
        chosen=chosen,
        unit=unit,
        cer=round(errors.wer, 4) if unit == "char" else None,
        merge_compounds=loaded.config.scoring.merge_compounds,
        hotwords=phrases,
    )


def _decode_batch(
    loaded: LoadedModel,
    searcher: Searcher[Any],
    batch: Batch,
    context: Context,
    right_mode: Mode,
) -> list[Hypothesis]:
    assert right_mode == "windowed" or right_mode == "masked"
    with torch.no_grad():
        out, lengths = loaded.model.encoder(
            batch.features, batch.feature_lens, context=context, right_mode=right_mode
        )
        return searcher.decode(out, lengths)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
