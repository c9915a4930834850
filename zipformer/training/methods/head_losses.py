"""What follows the encoder in training: the losses of every head that a model has, weighed.

Nothing here remembers anything, and the encoder's output is an argument, so that a training method
may ask several times for one batch: once for each context that it encodes the batch in.

Letters: B batch, U tokens, T encoder output frames, D channels of the encoder, P of the predictor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from zipformer.config import LossConfig
from zipformer.context import output_frames
from zipformer.data.batch import Batch
from zipformer.heads.attention_decoder import with_end
from zipformer.losses import Emission, attention_loss, ctc_loss
from zipformer.losses.transducer import SharedLattice, shared_transducer_losses
from zipformer.model import Heads
from zipformer.tokens import BLANK_ID


@dataclass(frozen=True)
class Targets:
    """What is to be heard in a batch; it does not depend on the encoder.

    Args:
        tokens: (B, U) int64, padded with blanks.
        lengths: (B,) int64, tokens of each.
        predictor_out: (B, U + 1, P), the predictor's output for a blank and the tokens; None
            without a transducer.
        frame_counts: Output frames of each utterance, as plain numbers.
        token_counts: ``lengths`` as plain numbers.
    """

    tokens: Tensor
    lengths: Tensor
    predictor_out: Tensor | None
    frame_counts: Sequence[int]
    token_counts: Sequence[int]


@dataclass
class Computed:
    """What has been computed already of a head's loss, by a method that compares heads.

    Args:
        transducer: Simple and pruned loss.
        log_probs: (B, T, V), the CTC head's output.
        decoder_states: (B, U + 1, D'), of the attention decoder.
    """

    transducer: tuple[Tensor, Tensor] | None = None
    log_probs: Tensor | None = None
    decoder_states: Tensor | None = None


def make_targets(heads: Heads, batch: Batch) -> Targets:
    """Transcripts as tensors, and what the predictor makes of them.

    Args:
        heads: Whose predictor.
        batch: On the device of the model.
    """
    tokens, predicted = batch.padded_tokens, None
    if heads.predictor is not None:
        predicted = heads.predictor(
            F.pad(tokens, (1, 0), value=BLANK_ID)
        )  # (B, U) -> (B, U + 1, P)
    frames = [output_frames(n) for n in batch.frames]
    return Targets(tokens, batch.token_lens, predicted, frames, [len(ids) for ids in batch.tokens])


def head_losses(
    heads: Heads,
    encoder_out: Tensor,
    lengths: Tensor,
    targets: Targets,
    settings: LossConfig,
    step: int,
    computed: Computed | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The losses of the model's heads, each a sum over the batch.

    A head without weight is left out: its loss is not computed.

    Args:
        heads: Of the model, or of one of its paths.
        encoder_out: (B, T, D).
        lengths: (B,) valid frames.
        targets: From ``make_targets``.
        settings: Weights and types.
        step: Steps taken before this one; see ``transducer_weights``.
        computed: What need not be computed again.

    Returns:
        The weighted sum, and its parts without weights: ``simple`` and ``pruned`` of the
        transducer, ``ctc``, and ``aed`` of the attention decoder.
    """
    simple_weight, pruned_weight = transducer_weights(settings, step)
    weights = {
        "simple": settings.transducer_scale * simple_weight,
        "pruned": settings.transducer_scale * pruned_weight,
        "ctc": settings.ctc_scale,
        "aed": settings.aed_scale,
    }
    computed = computed or Computed()
    parts: dict[str, Tensor] = {}
    if targets.predictor_out is not None and settings.transducer_scale > 0:
        if computed.transducer is None:
            (pair,), _ = shared_lattice(heads, [encoder_out], lengths, targets, settings)
        else:
            pair = computed.transducer
        parts |= {"simple": pair[0], "pruned": pair[1]}
    if heads.ctc_output is not None and settings.ctc_scale > 0:
        log_probs = computed.log_probs
        if log_probs is None:
            log_probs = heads.ctc_output(encoder_out)  # (B, T, V)
        parts["ctc"] = ctc_loss(
            log_probs, targets.frame_counts, targets.tokens, targets.token_counts
        )
    if heads.attention_decoder is not None and settings.aed_scale > 0:
        decoder, states = heads.attention_decoder, computed.decoder_states
        if states is None:
            states = decoder.states(targets.tokens, encoder_out, lengths)
        logits = decoder.output_layer(states)  # (B, U + 1, V)
        wanted = with_end(targets.tokens, targets.lengths, decoder.sos_eos_id)
        parts["aed"] = attention_loss(logits, *wanted, settings.label_smoothing)
    first, *others = (weights[name] * part for name, part in parts.items())
    return sum(others, start=first), parts


def transducer_weights(settings: LossConfig, step: int) -> tuple[float, float]:
    """Weights of the simple and of the pruned loss at ``step``, within the transducer's.

    Over the first ``warm_steps`` steps the pruned loss takes over from the simple one, whose
    gradients decide what is pruned and mean little at first.
    """
    warm = warmth(settings, step)
    return 1.0 + warm * (settings.simple_scale - 1.0), 0.1 + warm * 0.9


def warmth(settings: LossConfig, step: int) -> float:
    """How far ``loss.warm_steps`` have passed, from 0 to 1."""
    return min(step / settings.warm_steps, 1.0) if settings.warm_steps > 0 else 1.0


def shared_lattice(
    heads: Heads,
    encoder_outs: Sequence[Tensor],
    lengths: Tensor,
    targets: Targets,
    settings: LossConfig,
) -> tuple[list[tuple[Tensor, Tensor]], SharedLattice]:
    """Simple and pruned loss of each encoding of a batch, pruned alike.

    Args:
        heads: With a transducer.
        encoder_outs: (B, T, D) of each.
        lengths: (B,) valid frames.
        targets: From ``make_targets``.
        settings: Of the losses.
    """
    assert heads.joiner is not None and targets.predictor_out is not None
    assert heads.simple_am_proj is not None and heads.simple_lm_proj is not None
    return shared_transducer_losses(
        encoder_outs,
        lengths,
        targets.predictor_out,
        targets.tokens,
        targets.lengths,
        heads.simple_am_proj,
        heads.simple_lm_proj,
        heads.joiner,
        prune_range=settings.prune_range,
        lm_scale=settings.lm_scale,
        am_scale=settings.am_scale,
        rnnt_type=settings.rnnt_type,
        backend=settings.backend,
        reduction="sum",
        emission=Emission(settings.fastemit, settings.delay_penalty),
    )
