"""One model over one test set at one context: words, errors, figures, files."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from zipformer.config import ContextConfig
from zipformer.context import Context
from zipformer.data.loader import Batch, eval_batches
from zipformer.decoding.greedy_search import GreedySearch
from zipformer.decoding.menu import describe_menu, in_menu
from zipformer.decoding.protocol import Decoder, Hypothesis
from zipformer.decoding.provenance import git_commit
from zipformer.decoding.results import Mode, Result, is_streamable, write_result
from zipformer.decoding.scoring import Utterance, total_errors
from zipformer.decoding.streams import encode_streams
from zipformer.nn.encoder import Encoder
from zipformer.training.checkpoint import LoadedModel

logger = logging.getLogger(__name__)


@dataclass
class Decoded:
    """What decoding a set gave.

    Args:
        utterances: References and hypotheses, in the order of decoding.
        audio_seconds: Length of the audio.
        compute_seconds: Time that encoder and search took; reading and features are not counted.
    """

    utterances: list[Utterance] = field(default_factory=list)
    audio_seconds: float = 0.0
    compute_seconds: float = 0.0


def make_decoder(loaded: LoadedModel, method: str = "greedy") -> Decoder:
    """The search method of that name over the model's predictor and joiner.

    Raises:
        ValueError: If there is no such method, listing those there are.
    """
    if method != "greedy":
        raise ValueError(f"unknown search method {method!r}; there is: greedy")
    tokenizer, model = loaded.tokenizer, loaded.model
    return GreedySearch(model.predictor, model.joiner, tokenizer.blank_id, tokenizer.unk_id)


@torch.no_grad()
def encode(
    encoder: Encoder, features: Tensor, lengths: Tensor, context: Context, right_mode: Mode
) -> tuple[Tensor, Tensor]:
    """(B, T, num_features) and (B,) -> (B, T', D) and (B,), in the way that the mode names."""
    if right_mode == "stream":
        return encode_streams(encoder, features, lengths, context)
    return encoder(features, lengths, context=context, right_mode=right_mode)


def check_context(loaded: LoadedModel, context: Context, right_mode: Mode = "windowed") -> None:
    """Refuses what the model cannot compute; warns, once, of what it was not trained for.

    Raises:
        ValueError: On a context that the encoder cannot compute, or cannot stream.
    """
    loaded.config.encoder.check_context(context)
    if right_mode == "stream" and not context.streams:
        raise ValueError(
            f"context {context} cannot stream: a stream needs a finite chunk and a finite left "
            "context, as in 32/256/64"
        )
    if not in_menu(context, loaded.config.context):
        _warn_once(loaded.path.parent, context, loaded.config.context)


@cache
def _warn_once(run: Path, context: Context, menu: ContextConfig) -> None:
    logger.warning(
        "context %s is outside the menu that %s was trained with (%s): expect more errors",
        context,
        run.name,
        describe_menu(menu),
    )


def decode_batches(
    loaded: LoadedModel,
    batches: Iterable[Batch],
    context: Context,
    right_mode: Mode = "windowed",
    method: str = "greedy",
) -> Decoded:
    """Decodes batches one after another.

    Raises:
        MemoryError: If a batch does not fit into the memory of the device, saying what to lower.
    """
    decoder, decoded = make_decoder(loaded, method), Decoded()
    device = next(loaded.model.parameters()).device
    for batch in batches:
        began = time.perf_counter()
        try:
            hypotheses = _decode_batch(loaded, decoder, batch.to(device), context, right_mode)
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"out of memory on a batch of {len(batch.cut_ids)} utterances, "
                f"{batch.seconds:.0f} s, at context {context}: lower --max-duration"
            ) from error
        decoded.compute_seconds += time.perf_counter() - began
        decoded.audio_seconds += batch.seconds
        for cut_id, text, hypothesis in zip(batch.cut_ids, batch.texts, hypotheses, strict=True):
            heard = loaded.tokenizer.decode(hypothesis.tokens)
            decoded.utterances.append(Utterance.of_texts(cut_id, text, heard))
    return decoded


def evaluate(
    loaded: LoadedModel,
    cuts_path: Path,
    set_name: str,
    context: Context,
    right_mode: Mode = "windowed",
    method: str = "greedy",
    max_duration: float | None = None,
    limit: int = 0,
    decode_dir: Path | None = None,
) -> Result:
    """Decodes and scores a test set, and writes its result folder.

    Args:
        loaded: The model, on the device to use.
        cuts_path: Manifest of the set.
        set_name: Its name in folders and tables.
        context: What the encoder sees.
        right_mode: ``windowed`` gives the words of a stream in batches, ``stream`` gives them
            step by step (slowly: one utterance at a time), ``masked`` gives others.
        method: Search method.
        max_duration: Seconds of audio in a batch; by default the config's.
        limit: Only so many cuts; 0 = all.
        decode_dir: Where the folder goes; ``decode`` beside the checkpoint by default.

    Raises:
        FileNotFoundError: If there is no such manifest.
        ValueError: On a context that the model cannot compute, or a set without reference words.
    """
    if not re.fullmatch(r"[A-Za-z0-9.+-]+(_[A-Za-z0-9.+-]+)*", set_name):
        raise ValueError(f"set name {set_name!r}: use letters, digits and . + - _ between them")
    if not Path(cuts_path).is_file():
        raise FileNotFoundError(f"set {set_name}: there is no manifest {cuts_path}")
    check_context(loaded, context, right_mode)
    batches = eval_batches(
        Path(cuts_path), loaded.tokenizer, loaded.config.data, max_duration, limit
    )
    decoded = decode_batches(loaded, batches, context, right_mode, method)
    result = summarize(loaded, decoded, set_name, context, right_mode, method)
    folder = write_result(decode_dir or loaded.path.parent / "decode", result, decoded.utterances)
    logger.info("[%s, %s, %s] WER %s, in %s", set_name, context, right_mode, result.errors, folder)
    return result


def summarize(
    loaded: LoadedModel,
    decoded: Decoded,
    set_name: str,
    context: Context,
    right_mode: Mode,
    method: str,
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
    return Result(
        set=set_name,
        method=method,
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
    )


def _decode_batch(
    loaded: LoadedModel, decoder: Decoder, batch: Batch, context: Context, right_mode: Mode
) -> list[Hypothesis]:
    encoder = loaded.model.encoder
    out, lengths = encode(encoder, batch.features, batch.feature_lens, context, right_mode)
    return decoder.decode(out, lengths)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
