"""Starts a new run from weights that another one learned: a run of ours, or a published file.

The encoder must be the same. A vocabulary may differ: what belongs to a token is taken over where
both vocabularies have that token. Heads that one side lacks start anew, or are left behind.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from zipformer.checkpoint.init_source import SHOWN, VOCABULARY, Source, read_source
from zipformer.config.toml import Plain, to_dict
from zipformer.model import AsrModel
from zipformer.tokens import Tokenizer

# Where to look in the config when such parameters are missing, or of another size.
CONFIG_KEYS = (
    (r"^missing.*\battention_decoder\.", ["model.aed_layers"]),
    (r"\battention_decoder\..*feed_forward", ["model.aed_feedforward_dim", "model.aed_dim"]),
    (r"\battention_decoder\.", ["model.aed_dim", "encoder.dims"]),
    (r"\.frontend\.", ["encoder.frontend_channels", "encoder.dims"]),
    (r"depthwise_conv", ["encoder.causal", "encoder.kernels"]),
    (r"^missing.*\.layers\.", ["encoder.num_layers"]),
    (r"\.linear_pos", ["encoder.pos_dim", "encoder.pos_head_dim"]),
    (r"\.self_attn_weights", ["encoder.query_head_dim", "encoder.num_heads"]),
    (r"\.self_attn\d", ["encoder.value_head_dim", "encoder.num_heads"]),
    (r"\.feed_forward", ["encoder.feedforward_dims"]),
    (r"\.layers\.", ["encoder.dims"]),
    (r"\bencoder\.", ["encoder.downsampling", "encoder.dims"]),
    (r"\b(predictor|simple_lm_proj)\.", ["model.predictor_dim", "model.context_size"]),
    (r"\bjoiner\.", ["model.joiner_dim", "model.predictor_dim"]),
    (r"", ["encoder.dims"]),  # the rest
)
TRAINING_ONLY_KEYS = ("unmasked_dims", "dropout")  # of the encoder: nothing that it computes with
# What no shape shows of published encoders: they take the features as they are.
PUBLISHED: dict[str, Plain] = {
    "kind": "zipformer",
    "feature_mean": 0.0,
    "feature_std": 1.0,
    "input_downsampling": 1,
    "activation": "swoosh",
}


@dataclass(frozen=True)
class Initialised:
    """What became of every parameter of the model and of the source.

    Args:
        source: Where the weights come from.
        loaded: Taken over whole.
        adapted: Taken over for the tokens that both vocabularies have; the rest starts anew.
        reinitialised: Left as they were drawn.
        dropped: Of the source, with no place in the model.
        notes: Why, a line each.
    """

    source: str
    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    reinitialised: tuple[str, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        parts = ("loaded", "adapted", "reinitialised", "dropped")
        lines = [_line(part, getattr(self, part)) for part in parts]
        return "\n  ".join([f"weights from {self.source}", *lines, *self.notes])


def initialise(model: AsrModel, source: Path, tokenizer: Tokenizer) -> Initialised:
    """Fills a fresh model with the weights of another one.

    Args:
        model: Of the config of the new run, with fresh weights; they stay where nothing fits.
        source: A checkpoint of ours, whose own weights are taken; the folder of a run of ours,
            whose newest checkpoint is taken, averaged over the last epoch where it allows; or a
            published checkpoint. Beside a published one, or in ``../data/lang_bpe_500``,
            ``tokens.txt`` or ``bpe.model`` says what its tokens are; without, everything that has
            a row for each token starts anew.
        tokenizer: Of the new run.

    Returns:
        What was loaded, adapted, reinitialised and dropped; as text, a report.

    Raises:
        FileNotFoundError: If there is nothing to start from.
        ValueError: If the file is damaged or refused, or is of another architecture, naming the
            first parameters that differ and the keys of the config to look at; the model is then
            unchanged.
    """
    found = read_source(Path(source).expanduser())
    own = model.state_dict()
    _check(found, model, own)
    rows, note = _match_tokens(found, tokenizer)
    weights: dict[str, Tensor] = {}
    for name, value in own.items():
        stored = found.weights.get(name)
        if stored is not None and name not in VOCABULARY:
            weights[name] = stored
        elif stored is not None and rows:
            weights[name] = _take_rows(stored, value, rows)
    model.load_state_dict({**own, **weights})
    all_tokens = len(rows) == tokenizer.vocab_size
    adapted = [] if all_tokens else [n for n in weights if n in VOCABULARY]
    return Initialised(
        source=found.name,
        loaded=tuple(n for n in weights if n not in adapted),
        adapted=tuple(adapted),
        reinitialised=tuple(n for n in own if n not in weights),
        dropped=(*(n for n in found.weights if n not in own), *found.others),
        notes=(*found.notes, note),
    )


def _match_tokens(source: Source, tokenizer: Tokenizer) -> tuple[dict[int, int], str]:
    """New id -> old id of the tokens that both have; and what to report."""
    if source.tokens is None:
        return {}, "so what belongs to tokens starts anew"
    old = {token: i for i, token in enumerate(source.tokens)}
    rows = {i: old[token] for i, token in enumerate(tokenizer.tokens) if token in old}
    shared = f"{len(rows)} of {tokenizer.vocab_size} tokens are among the {len(old)} of the source"
    return rows, f"vocabulary: {shared} and keep what belongs to them"


def _take_rows(old: Tensor, fresh: Tensor, rows: Mapping[int, int]) -> Tensor:
    """``fresh`` (V, ...) with the rows of shared tokens from ``old`` (V', ...)."""
    taken = fresh.clone()
    taken[list(rows)] = old[list(rows.values())].to(fresh)
    return taken


# Architectures


def _check(source: Source, model: AsrModel, own: Mapping[str, Tensor]) -> None:
    """Compares the architectures.

    Raises:
        ValueError: Naming the first parameters that differ, and keys of the config.
    """
    keys, names = _different_keys(source, model), _different_parameters(source, own)
    if not keys and not names:
        return
    lines = [f"train.init_from: {source.name} is of another architecture"]
    if names:
        lines += [f"{len(names)} parameters differ, the first ones:"]
        lines += [f"  {name}: {what}" for name, what in list(names.items())[:SHOWN]]
    lines += ["in the config:", *(f"  {key}" for key in keys or _keys_for(names))]
    raise ValueError("\n".join(lines))


def _different_keys(source: Source, model: AsrModel) -> list[str]:
    """Differences that the source's config tells, some of which no shape shows."""
    here = to_dict(model.encoder.config)
    if source.encoder is not None:
        there = to_dict(source.encoder)
    else:
        there = {**here, **PUBLISHED}
    if there["kind"] != here["kind"]:
        return [f"encoder.kind = {there['kind']} there, {here['kind']} here"]
    different = [
        f"encoder.{key} = {there[key]} there, {value} here"
        for key, value in here.items()
        if there[key] != value and key not in TRAINING_ONLY_KEYS
    ]
    predictor, kernel = model.predictor, source.weights.get("predictor.conv.weight")
    if predictor is not None and "predictor.embedding.weight" in source.weights:
        there_size = 1 if kernel is None else kernel.shape[2]
        if there_size != predictor.context_size:
            sizes = f"{there_size} there, {predictor.context_size} here"
            different.append(f"model.context_size = {sizes}")
    decoder = model.attention_decoder
    if decoder is not None and source.aed_heads not in (None, decoder.num_heads):
        different += [f"model.aed_heads = {source.aed_heads} there, {decoder.num_heads} here"]
    return different


def _different_parameters(source: Source, own: Mapping[str, Tensor]) -> dict[str, str]:
    """What does not fit, by name; whole heads may be missing, the encoder may not."""
    heads = {_head(name) for name in source.weights}
    different = {}
    for name, value in own.items():
        shape, stored = tuple(value.shape), source.weights.get(name)
        if stored is None and _head(name) in heads:
            different[name] = "missing there"
        elif stored is not None and _row_shape(name, stored) != _row_shape(name, value):
            different[name] = f"{tuple(stored.shape)} there, {shape} here"
    known = {_head(name) for name in own}
    extra = [n for n in (*source.weights, *source.others) if _head(n) in known and n not in own]
    return different | {name: "missing here" for name in extra}


def _row_shape(name: str, value: Tensor) -> tuple[int, ...]:
    """The shape, without the axis of the vocabulary."""
    return tuple(value.shape[1:] if name in VOCABULARY else value.shape)


def _head(name: str) -> str:
    """The part of the model that a parameter belongs to."""
    return name.split(".")[0]


def _keys_for(different: Mapping[str, str]) -> list[str]:
    """Keys of the config that decide about parameters; of many, those of the first ones."""
    found: list[str] = []
    for name, what in list(different.items())[:SHOWN]:
        where = f"{what} {name}"  # a parameter that is missing says more than one of other size
        found += next(keys for part, keys in CONFIG_KEYS if re.search(part, where))
    return [f"look at {key}" for key in dict.fromkeys(found)]


# Reports


def _line(what: str, names: Sequence[str]) -> str:
    """Few names as they are, many by the part of the model and their count."""
    if not names:
        return f"{what}: none"
    if len(names) <= SHOWN:
        return f"{what}: {', '.join(names)}"
    parts = Counter(name.split(".")[0] for name in names)
    listed = ", ".join(f"{part} {count}" for part, count in parts.items())
    return f"{what}: {len(names)} parameters ({listed})"
