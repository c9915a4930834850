"""Exports a trained model, checks the files on real speech, and says in words what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from zipformer.checkpoint.loading import LoadedModel
from zipformer.checkpoint.provenance import git_commit
from zipformer.config import RunConfig
from zipformer.context import Context
from zipformer.data.audio import cut_samples
from zipformer.data.features import extract
from zipformer.data.manifests import UNREADABLE, read_cuts, text_of
from zipformer.evaluation.scoring import Utterance, WordErrors, total_errors
from zipformer.evaluation.test_sets import choose_sets
from zipformer.export import models, readme
from zipformer.export.check import LIMIT, Check, check
from zipformer.export.options import Form, Options
from zipformer.export.runtime import OnnxModel
from zipformer.search import Search, make_searcher
from zipformer.search.protocol import Hypothesis
from zipformer.tokens.scoring import RATES, Scorer, unit_of

KINDS: dict[Form, str] = {
    "float32": "",
    "float16": " in half precision",
    "int8": " with 8-bit weights",
}
AT_ONCE = 16  # utterances in a batch
NOISE_SECONDS = (1.0, 2.5, 4.0)  # of what stands in for speech


@dataclass(frozen=True)
class Spoken:
    """A recording with its words.

    Args:
        cut_id: Its name in the manifest.
        samples: (N,) float32.
        text: What was said.
    """

    cut_id: str
    samples: np.ndarray
    text: str


def load_speech(config: RunConfig, sets: str | None = None, limit: int = 0) -> list[Spoken]:
    """Recordings of the run's first test set.

    Args:
        config: Of the trained model.
        sets: Another set, as a name in the config or ``name=manifest``.
        limit: Only so many; 0 = all.

    Returns:
        Nothing if no set was asked for and the run's own has no recordings on this machine.

    Raises:
        ValueError: If the set that was asked for is unknown or holds no recordings.
        FileNotFoundError: If its manifest is missing.
    """
    try:
        path = next(iter(choose_sets(config, sets).values()))
        rate = config.data.sample_rate
        cuts = islice(read_cuts(path), limit or None)
        return [Spoken(cut.id, cut_samples(cut, rate), text_of(cut)) for cut in cuts]
    except (ValueError, *UNREADABLE):
        if sets is not None:
            raise
        return []


def export_checked(
    loaded: LoadedModel,
    context: Context,
    directory: Path,
    speech: Sequence[Spoken],
    options: Options | None = None,
    offline: bool = False,
) -> Iterator[str]:
    """Writes the files of an export and compares them with PyTorch.

    Args:
        loaded: The model.
        context: That the streaming export works at; none is written for the full context.
        directory: Of the streaming export.
        speech: To compare and score with; without any, noise is compared.
        options: Which head, and in which forms; what is known of the model is filled in.
        offline: Writes an offline export of the same weights into ``offline`` below.

    Yields:
        Lines for a person.

    Raises:
        ValueError: If the context cannot stream, or the files do not compute what the model does.
        ImportError: If the packages of the extra ``export`` are missing.
    """
    options = _filled_in(options or Options(), loaded)
    tokens, model = loaded.tokenizer.tokens, loaded.model
    if context.is_full and not offline:
        raise ValueError(
            "the full context cannot stream: give --chunk, --left and --right, or --offline for "
            "files that hear whole utterances"
        )
    if not context.is_full:
        loaded.check_context(context)
        models.export_streaming(model, tokens, context, directory, options)
        yield f"streaming, {context.describe()}: {directory}"
        yield from _compare(loaded, context, directory, speech, options)
    if offline:
        folder = directory / "offline"
        if options.float16:
            yield "not in half precision for whole utterances, which onnxruntime cannot load"
            options = replace(options, float16=False)
        models.export_offline(model, tokens, folder, options)
        yield f"offline, {Context.full().describe()}: {folder}"
        yield from _compare(loaded, Context.full(), folder, speech, options)


def _filled_in(options: Options, loaded: LoadedModel) -> Options:
    about = {"model": f"{loaded.label} of {loaded.path.resolve().parent.name}"}
    if commit := git_commit():
        about["commit"] = commit
    return replace(
        options,
        sample_rate=loaded.config.data.sample_rate,
        about=about,
        scores=loaded.tokenizer.scores,
    )


def _compare(
    loaded: LoadedModel,
    context: Context,
    folder: Path,
    speech: Sequence[Spoken],
    options: Options,
) -> Iterator[str]:
    result = check(loaded.model, folder, [s.samples for s in speech] or _noise(loaded))
    lines = [f"ONNX against PyTorch: {result}"]
    if not speech:
        lines.append("on noise, as there is no test audio at hand: give --sets name=cuts.jsonl.gz")
    else:
        lines += _word_errors(loaded, context, folder, speech, options)
    for line in lines:
        yield f"  {line}"
    if not result.passed:
        raise ValueError(_failure(result, folder))
    readme.append(folder, lines)


def _word_errors(
    loaded: LoadedModel,
    context: Context,
    folder: Path,
    speech: Sequence[Spoken],
    options: Options,
) -> Iterator[str]:
    """Of PyTorch as decode.py scores it, and of the files as sherpa-onnx runs them."""
    scorer = Scorer(loaded.config.scoring, loaded.tokenizer)
    said = (scorer.units(spoken.text) for spoken in speech)
    rate = RATES[unit_of(loaded.config.scoring, said)]
    yield f"{rate} in PyTorch {_score(loaded, speech, _pytorch(loaded, context, options))}"
    for form in options.forms:
        errors = _score(loaded, speech, OnnxModel(folder, form).decode)
        yield f"{rate} in ONNX{KINDS[form]} {errors}"


def _score(
    loaded: LoadedModel,
    speech: Sequence[Spoken],
    decode: Callable[[list[np.ndarray]], list[Hypothesis]],
) -> WordErrors:
    utterances, scorer = [], Scorer(loaded.config.scoring, loaded.tokenizer)
    by_length = sorted(speech, key=lambda spoken: len(spoken.samples))
    for start in range(0, len(by_length), AT_ONCE):
        batch = by_length[start : start + AT_ONCE]
        for spoken, heard in zip(batch, decode([s.samples for s in batch]), strict=True):
            text = loaded.tokenizer.decode(heard.tokens)
            utterances.append(Utterance.scored(scorer, spoken.cut_id, spoken.text, text))
    return total_errors(utterances)


def _pytorch(
    loaded: LoadedModel, context: Context, options: Options
) -> Callable[[list[np.ndarray]], list[Hypothesis]]:
    search = Search("greedy" if options.head == "transducer" else "ctc_greedy")
    searcher = make_searcher(loaded.model.heads_at(context), loaded.tokenizer.pieces, search)
    device = next(loaded.model.parameters()).device
    rate, bins = loaded.config.data.sample_rate, loaded.config.encoder.num_features

    @torch.no_grad()
    def decode(audio: list[np.ndarray]) -> list[Hypothesis]:
        features = [extract(samples, rate, bins) for samples in audio]
        lengths = torch.tensor([len(f) for f in features], device=device)
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True).to(device)
        return searcher.decode(*loaded.model.encoder(padded, lengths, context))

    return decode


def _noise(loaded: LoadedModel) -> list[np.ndarray]:
    rate, generator = loaded.config.data.sample_rate, np.random.default_rng(0)
    sizes = [int(seconds * rate) for seconds in NOISE_SECONDS]
    return [0.1 * generator.standard_normal(size).astype(np.float32) for size in sizes]


def _failure(result: Check, folder: Path) -> str:
    return (
        f"the files in {folder} do not compute what the model does: {result}; the limit is "
        f"{LIMIT:.0e}. Do not use them"
    )
