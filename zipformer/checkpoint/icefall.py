"""Published parameters under their published names, loaded into our modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from zipformer.model import AsrModel
from zipformer.nn.streaming_encoder import StreamingEncoder
from zipformer.nn.zipformer.encoder import Encoder
from zipformer.released.names import rename_published
from zipformer.released.reading import published_weights, read_published

Module = TypeVar("Module", bound=nn.Module)

_TRAINING_PARTS = ("simple_am_proj.", "simple_lm_proj.", "ctc_output.")
_ATTENTION_PART = "attention_decoder."
_SHOWN = 5  # names that an error message lists


def load_icefall(source: Mapping[str, Tensor] | str | Path, module: Module) -> Module:
    """Fills a module from parameters with published names.

    Args:
        source: A state dict, or the path of a checkpoint (``.pt``, where ``{"model": ...}`` is
            looked into, or ``.safetensors``). Files are loaded without running code.
        module: An ``AsrModel``, a ``Transducer``, or an ``Encoder``. The last two leave known
            parameters that they have no part for: projections of the simple loss and other heads.
            An attention decoder is left by all that have none.

    Returns:
        The module.

    Raises:
        ValueError: On a missing or unknown parameter or a wrong shape, naming it; the module is
            then unchanged. Also if its encoder is no Zipformer, and as ``read_published``.
    """
    _check_kind(module)
    if isinstance(source, Mapping):
        weights = published_weights(source, "the state dict")
    else:
        weights = read_published(Path(source)).weights
    known, others = rename_published(weights)
    if isinstance(module, Encoder):
        prefix = "encoder."
        known = {n.removeprefix(prefix): v for n, v in known.items() if n.startswith(prefix)}
    elif not isinstance(module, AsrModel):
        known = {n: v for n, v in known.items() if not n.startswith(_TRAINING_PARTS)}
    if getattr(module, "attention_decoder", None) is None:
        known = {n: v for n, v in known.items() if not n.startswith(_ATTENTION_PART)}
    _check(known, module, unknown=list(others))
    module.load_state_dict(known)
    return module


def _check_kind(module: nn.Module) -> None:
    encoder = module if isinstance(module, StreamingEncoder) else getattr(module, "encoder", None)
    if isinstance(encoder, StreamingEncoder) and not isinstance(encoder, Encoder):
        raise ValueError(
            f"published parameters are those of a Zipformer, this encoder is a "
            f"{encoder.config.kind}: set encoder.kind = 'zipformer'"
        )


def _check(found: Mapping[str, Tensor], module: nn.Module, unknown: list[str]) -> None:
    wanted = module.state_dict()
    missing = [n for n in wanted if n not in found]
    extra = unknown + [n for n in found if n not in wanted]
    shapes = [
        f"{n} {tuple(found[n].shape)}, wanted {tuple(wanted[n].shape)}"
        for n in wanted
        if n in found and found[n].shape != wanted[n].shape
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for what, names in (("missing", missing), ("unknown", extra), ("of wrong shape", shapes))
        if names
    ]
    if problems:
        raise ValueError(
            f"these parameters do not fit {type(module).__name__}: {'; '.join(problems)}. "
            "Check the sizes in the config, and causal = true or false."
        )
