"""How one model learns both to stream and to hear whole utterances: what there is to choose."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from zipformer.config.sections import ContextConfig, LossConfig, ModelConfig
from zipformer.context import UNLIMITED

MAX_SHIFT = 2  # output frames


@dataclass(frozen=True)
class MethodRules:
    """What a training method is like, as far as a config has to know.

    Args:
        two_contexts: Whether every step encodes a batch in full context and in a streaming one.
        trains_full: Whether full context is trained whatever ``context`` says.
        separate_heads: Whether streaming contexts have heads of their own.
        views: Of every utterance, masked apart.
        weights: Keys of ``MethodConfig`` that only some methods make use of, this one among them.
    """

    two_contexts: bool = False
    trains_full: bool = False
    separate_heads: bool = False
    views: int = 1
    weights: tuple[str, ...] = ()


RULES = {
    "single": MethodRules(),
    "sampled": MethodRules(trains_full=True),
    "dual": MethodRules(
        two_contexts=True,
        trains_full=True,
        weights=("distill", "consistency", "ctc_consistency"),
    ),
    "multi_decoder": MethodRules(
        two_contexts=True,
        trains_full=True,
        separate_heads=True,
        weights=("encoder_similarity", "decoder_similarity"),
    ),
    "cr_ctc": MethodRules(views=2, weights=("ctc_consistency",)),
}


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
    def rules(self) -> MethodRules:
        """What a method of this kind is like."""
        return RULES[self.kind]


def check_method(
    method: MethodConfig,
    model: ModelConfig,
    loss: LossConfig,
    context: ContextConfig,
    views: int,
    causal: bool,
) -> None:
    """Refuses a method that cannot do what its settings say.

    Args:
        method: The settings.
        model, loss, context: Other sections of the config.
        views: Of every utterance that the data come with.
        causal: Whether the encoder can be used with chunks.

    Raises:
        ValueError: Naming the key, and what to change.
    """
    _check_numbers(method)
    if method.rules.two_contexts:
        _check_two_contexts(method, context, causal)
    _check_use(method)
    _check_heads(method, model)
    _check_views(method, loss, views)


def _check_numbers(method: MethodConfig) -> None:
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


def _check_two_contexts(method: MethodConfig, context: ContextConfig, causal: bool) -> None:
    kind = method.kind
    if not causal:
        raise ValueError(f"method.kind = {kind} needs encoder.causal = true: one half streams")
    if UNLIMITED in context.chunk:
        raise ValueError(
            f"method.kind = {kind} trains full context in every step, beside a streaming one: "
            "take -1 out of context.chunk"
        )


def _check_use(method: MethodConfig) -> None:
    """Refuses a weight that a method of this kind makes no use of."""
    for key in dict.fromkeys(weight for rules in RULES.values() for weight in rules.weights):
        if getattr(method, key) > 0 and key not in method.rules.weights:
            kinds = " or ".join(kind for kind, rules in RULES.items() if key in rules.weights)
            raise ValueError(
                f"method.{key} > 0 has no effect with method.kind = {method.kind}: use kind = "
                f"{kinds}, or {key} = 0"
            )


def _check_heads(method: MethodConfig, model: ModelConfig) -> None:
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


def _check_views(method: MethodConfig, loss: LossConfig, views: int) -> None:
    kind, wanted = method.kind, method.rules.views
    if wanted > 1 and (method.ctc_consistency == 0 or loss.ctc_scale == 0):
        raise ValueError(
            f"method.kind = {kind} compares CTC outputs: set model.ctc = true, loss.ctc_scale "
            "> 0 and method.ctc_consistency > 0 (0.2 as published)"
        )
    if views == wanted:
        return
    if wanted > 1:
        raise ValueError(f"method.kind = {kind} needs data.spec_augment.views = {wanted}")
    others = " or ".join(f"{k} with {r.views}" for k, r in RULES.items() if r.views > 1)
    raise ValueError(
        f"data.spec_augment.views = {views} makes views that nobody looks at; use 1, or "
        f"method.kind = {others}"
    )
