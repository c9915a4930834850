"""How one model learns both to stream and to hear whole utterances: what there is to choose."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from zipformer.context import UNLIMITED

if TYPE_CHECKING:
    from zipformer.config import RunConfig

TWO_CONTEXTS = ("dual", "multi_decoder")
MAX_SHIFT = 2  # output frames


@dataclass(frozen=True)
class MethodConfig:
    """How one model learns both to stream and to hear whole utterances; see docs/methods.md.

    ``single`` and ``sampled`` encode a batch once. ``dual`` and ``multi_decoder`` encode it twice,
    in full context and in the step's streaming context. ``cr_ctc`` encodes two views of it in one
    context.
    """

    kind: Literal["single", "sampled", "dual", "multi_decoder", "cr_ctc"] = "single"
    offline_share: float = 0.5  # of the steps of ``sampled``: in full context
    offline_weight: float = 1.0  # of the losses in full context
    streaming_weight: float = 1.0  # and of those in the streaming one
    distill: float = 0.0  # weight of the full context as a teacher, on the transducer lattice
    distill_shift: int = 0  # output frames by which the student may be later, -2 to 2
    consistency: float = 0.0  # weight of the symmetric divergence on the transducer lattice
    ctc_consistency: float = 0.0  # the same for the CTC heads
    encoder_similarity: float = 0.0  # of the two paths of ``multi_decoder``
    decoder_similarity: float = 0.0

    @property
    def trains_full(self) -> bool:
        """Whether full context is trained whatever ``context`` says."""
        return self.kind in ("sampled", *TWO_CONTEXTS)


def check_method(config: RunConfig) -> None:
    """Refuses a method that cannot do what its settings say.

    Raises:
        ValueError: Naming the key, and what to change.
    """
    method, model = config.method, config.model
    for field in fields(method):
        value = getattr(method, field.name)
        if isinstance(value, float) and value < 0.0:
            raise ValueError(f"method.{field.name} = {value:g} is negative; 0 leaves it out")
    if method.offline_share > 1.0:
        raise ValueError("method.offline_share must lie between 0 and 1")
    if abs(method.distill_shift) > MAX_SHIFT:
        raise ValueError(
            f"method.distill_shift = {method.distill_shift}: the student may be up to {MAX_SHIFT} "
            f"output frames earlier or later; use -{MAX_SHIFT} to {MAX_SHIFT}"
        )
    if method.kind in TWO_CONTEXTS:
        _check_two_contexts(config)
    _only(method, "dual", "distill", "consistency")
    _only(method, "multi_decoder", "encoder_similarity", "decoder_similarity")
    _only(method, "dual or cr_ctc", "ctc_consistency")
    for key in ("distill", "consistency"):
        if getattr(method, key) > 0 and not model.transducer:
            raise ValueError(
                f"method.{key} > 0 works on the transducer: set model.transducer = true, or "
                f"method.{key} = 0"
            )
    if method.decoder_similarity > 0 and not (model.transducer or model.attention_decoder):
        raise ValueError(
            "method.decoder_similarity > 0 compares decoders: set model.transducer = true or "
            "model.attention_decoder = true, or method.decoder_similarity = 0"
        )
    if method.ctc_consistency > 0 and not model.ctc:
        raise ValueError("method.ctc_consistency > 0 needs model.ctc = true, or set it to 0")
    _check_views(config)


def _check_two_contexts(config: RunConfig) -> None:
    kind = config.method.kind
    if not config.encoder.causal:
        raise ValueError(f"method.kind = {kind} needs encoder.causal = true: one half streams")
    if UNLIMITED in config.context.chunk:
        raise ValueError(
            f"method.kind = {kind} trains full context in every step, beside a streaming one: "
            "take -1 out of context.chunk"
        )


def _check_views(config: RunConfig) -> None:
    views, method = config.data.spec_augment.views, config.method
    if method.kind == "cr_ctc":
        if method.ctc_consistency == 0 or config.loss.ctc_scale == 0:
            raise ValueError(
                "method.kind = cr_ctc compares CTC outputs: set model.ctc = true, loss.ctc_scale "
                "> 0 and method.ctc_consistency > 0 (0.2 as published)"
            )
        if views != 2:
            raise ValueError("method.kind = cr_ctc needs data.spec_augment.views = 2")
    elif views != 1:
        raise ValueError(
            f"data.spec_augment.views = {views} makes views that nobody looks at; use 1, or "
            "method.kind = cr_ctc with 2"
        )


def _only(method: MethodConfig, kinds: str, *keys: str) -> None:
    for key in keys:
        if getattr(method, key) > 0 and method.kind not in kinds.split(" or "):
            raise ValueError(
                f"method.{key} > 0 has no effect with method.kind = {method.kind}: use kind = "
                f"{kinds}, or {key} = 0"
            )
