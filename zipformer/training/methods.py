"""Training methods: in which contexts a batch is encoded, and what is asked of the encodings.

Each is a function of the model, a batch and the step, and returns what ``AsrTask`` logs. All share
``head_losses``; what a method adds are terms between its two encodings of a batch, which grow with
the warm-up of the pruned loss, because a young lattice says little.

Letters: B batch, T encoder output frames, D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zipformer.config import LossConfig, RunConfig
from zipformer.config.method import MethodConfig
from zipformer.context import Context
from zipformer.data.batch import Batch
from zipformer.losses import (
    ctc_consistency,
    lattice_consistency,
    lattice_distillation,
    similarity_distance,
)
from zipformer.model import AsrModel, Heads
from zipformer.nn.streaming_encoder import RightMode
from zipformer.training.head_losses import (
    Computed,
    Targets,
    head_losses,
    make_targets,
    shared_lattice,
    warmth,
)
from zipformer.training.task import StepInfo


@dataclass(frozen=True)
class Outcome:
    """What a method made of a batch.

    Args:
        loss: A sum over the batch.
        parts: What it is made of, sums without weights, by name.
        frames: Encoder output frames of the batch, a scalar; of one encoding.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    frames: Tensor


@dataclass
class _Path:
    """One encoding of the batch, with the heads that hear it."""

    name: str
    weight: float
    heads: Heads
    out: Tensor  # (B, T, D)
    targets: Targets
    computed: Computed = field(default_factory=Computed)


Between = dict[str, tuple[float, Tensor]]  # name -> weight and distance


def single(model: AsrModel, batch: Batch, step: StepInfo, config: RunConfig) -> Outcome:
    """One context per batch."""
    out, lengths = encode(model, batch, step.context, step.right_mode)
    heads = model.at(step.context)
    targets = make_targets(heads, batch.tokens, out.device)
    loss, parts = head_losses(heads, out, lengths, targets, config.loss, step.step)
    return Outcome(loss, parts, lengths.sum())


def dual(model: AsrModel, batch: Batch, step: StepInfo, config: RunConfig) -> Outcome:
    """Full and streaming context in every step (Dual-mode ASR, Yu et al., ICLR 2021, Algorithm 1).

    Optionally the full context teaches the streaming one (``distill``), or both are drawn together
    (``consistency``), point by point of a pruned lattice that they share.
    """
    method = config.method
    paths, lengths = _two_contexts(model, batch, step, method)
    between: Between = {}
    if method.distill > 0 or method.consistency > 0:
        between |= _on_a_shared_lattice(model, paths, lengths, config)
    if method.ctc_consistency > 0:
        between["ctc_consistency"] = method.ctc_consistency, _ctc_apart(model, paths, lengths)
    return _sum_up(paths, lengths, between, step, config.loss)


def multi_decoder(model: AsrModel, batch: Batch, step: StepInfo, config: RunConfig) -> Outcome:
    """Full and streaming context in every step, with heads of their own (arXiv 2405.13514).

    What holds the two paths together beside the encoder are distances between the similarities of
    the minibatch: of encoder outputs, and of decoder states, those of the predictors and of the
    attention decoders. They are weighed with the number of frames, as all other losses are sums.
    """
    method = config.method
    paths, lengths = _two_contexts(model, batch, step, method)
    one, other = paths
    between: Between = {}
    if method.encoder_similarity > 0:
        apart = similarity_distance(one.out, other.out, lengths)
        between["encoder_similarity"] = method.encoder_similarity, lengths.sum() * apart
    if method.decoder_similarity > 0:
        states = [_decoder_states(path, lengths, config.loss) for path in paths]
        places = one.targets.lengths + 1
        apart = sum(
            (similarity_distance(a, b, places) for a, b in zip(*states, strict=True)),
            start=torch.zeros((), device=lengths.device),
        )
        between["decoder_similarity"] = method.decoder_similarity, lengths.sum() * apart
    return _sum_up(paths, lengths, between, step, config.loss)


def cr_ctc(model: AsrModel, batch: Batch, step: StepInfo, config: RunConfig) -> Outcome:
    """Two views of every utterance, masked differently, that CTC shall hear alike.

    CR-CTC (arXiv 2410.05101): the losses of the views are averaged.
    """
    assert batch.second is not None
    features = torch.cat([batch.features, batch.second])
    out, lengths = model.encoder(
        features, batch.feature_lens.repeat(2), context=step.context, right_mode=step.right_mode
    )
    lengths = lengths[: len(batch.feature_lens)]
    targets = make_targets(model, batch.tokens, out.device)
    views = zip(("first", "second"), out.chunk(2), strict=True)
    paths = [_Path(name, 0.5, model, view, targets) for name, view in views]
    apart = _ctc_apart(model, paths, lengths)
    between = {"ctc_consistency": (config.method.ctc_consistency, apart)}
    return _sum_up(paths, lengths, between, step, config.loss)


Method = Callable[[AsrModel, Batch, StepInfo, RunConfig], Outcome]
METHODS: dict[str, Method] = {
    "single": single,
    "sampled": single,  # the sampler of contexts knows the difference
    "dual": dual,
    "multi_decoder": multi_decoder,
    "cr_ctc": cr_ctc,
}


def encode(
    model: AsrModel, batch: Batch, context: Context, right_mode: RightMode
) -> tuple[Tensor, Tensor]:
    """(B, T, D) and (B,)."""
    return model.encoder(batch.features, batch.feature_lens, context=context, right_mode=right_mode)


def _two_contexts(
    model: AsrModel, batch: Batch, step: StepInfo, method: MethodConfig
) -> tuple[list[_Path], Tensor]:
    """The paths in full and in streaming context, and the valid frames (B,) of both."""
    paths: list[_Path] = []
    for name, weight, context in (
        ("offline", method.offline_weight, Context.full()),
        ("streaming", method.streaming_weight, step.context),
    ):
        out, lengths = encode(model, batch, context, step.right_mode)
        heads = model.at(context)
        if paths and heads is paths[0].heads:
            targets = paths[0].targets
        else:
            targets = make_targets(heads, batch.tokens, out.device)
        paths.append(_Path(name, weight, heads, out, targets))
    return paths, lengths


def _decoder_states(path: _Path, lengths: Tensor, settings: LossConfig) -> list[Tensor]:
    """(B, U + 1, .) of the predictor and of the attention decoder, as far as there are any."""
    targets, decoder = path.targets, path.heads.attention_decoder
    found = [] if targets.predictor_out is None else [targets.predictor_out]
    if decoder is not None and settings.aed_scale > 0:
        path.computed.decoder_states = decoder.states(targets.tokens, path.out, lengths)
        found.append(path.computed.decoder_states)
    return found


def _on_a_shared_lattice(
    model: AsrModel, paths: Sequence[_Path], lengths: Tensor, config: RunConfig
) -> Between:
    """Computes the transducer losses of both paths, and distances on the lattice they share."""
    method, targets = config.method, paths[0].targets
    losses, lattice = shared_lattice(model, [p.out for p in paths], lengths, targets, config.loss)
    for path, pair in zip(paths, losses, strict=True):
        path.computed.transducer = pair
    assert model.joiner is not None
    cells = lattice.lm, model.joiner.output_linear, targets.tokens, lattice.ranges, lattice.boundary
    offline, streaming = lattice.am
    between: Between = {}
    if method.distill > 0:
        apart = lattice_distillation(offline, streaming, *cells, shift=method.distill_shift)
        between["distill"] = method.distill, apart
    if method.consistency > 0:
        between["consistency"] = method.consistency, lattice_consistency(offline, streaming, *cells)
    return between


def _ctc_apart(model: AsrModel, paths: Sequence[_Path], lengths: Tensor) -> Tensor:
    """Computes the CTC outputs of both paths, and the distance between them."""
    assert model.ctc_output is not None
    one, other = (model.ctc_output(path.out) for path in paths)
    paths[0].computed.log_probs, paths[1].computed.log_probs = one, other
    return ctc_consistency(one, other, lengths)


def _sum_up(
    paths: Sequence[_Path], lengths: Tensor, between: Between, step: StepInfo, settings: LossConfig
) -> Outcome:
    """The weighted losses of the paths, and of what lies between them."""
    total = torch.zeros((), device=lengths.device)
    parts: dict[str, Tensor] = {}
    for path in paths:
        loss, found = head_losses(
            path.heads, path.out, lengths, path.targets, settings, step.step, path.computed
        )
        total = total + path.weight * loss
        parts |= {f"{path.name}_{name}": value for name, value in found.items()}
    for name, (weight, apart) in between.items():
        total = total + warmth(settings, step.step) * weight * apart
        parts[name] = apart
    return Outcome(total, parts, lengths.sum())
