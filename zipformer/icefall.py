"""Published parameters under their published names, read into our modules.

The checkpoints of the icefall recipes name their parameters by module; inside a layer our names are
the same, above it ours are plainer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from zipformer.model import AsrModel
from zipformer.nn.encoder import Encoder

Module = TypeVar("Module", bound=nn.Module)

# Published prefix -> ours inside a whole model; an Encoder alone has them without "encoder.".
_ENCODER_RULES = [
    (r"^encoder_embed\.conv\.0\.", "encoder.frontend.conv1."),
    (r"^encoder_embed\.conv\.4\.", "encoder.frontend.conv2."),
    (r"^encoder_embed\.conv\.7\.", "encoder.frontend.conv3."),
    (r"^encoder_embed\.", "encoder.frontend."),
    (r"^encoder\.encoders\.(\d+)\.encoder\.layers\.", r"encoder.stacks.\1.layers."),
    (r"^encoder\.encoders\.(\d+)\.", r"encoder.stacks.\1."),
    (r"^encoder\.downsample_output\.", "encoder.downsample_output."),
]
_HEAD_RULES = [
    (r"^decoder\.", "predictor."),
    (r"^joiner\.", "joiner."),
]
_TRAINING_RULES = [(r"^(simple_am_proj|simple_lm_proj|ctc_output)\.", r"\1.")]
# Present in every published checkpoint, used by none.
_DEAD = re.compile(r"^encoder\.encoders\.\d+\.(encoder\.)?layers\.\d+\.bypass_scale$")
_SHOWN = 5  # names that an error message lists


def load_icefall(source: Mapping[str, Tensor] | str | Path, module: Module) -> Module:
    """Fills a module from parameters with published names.

    Args:
        source: A state dict, or the path of a checkpoint (``.pt``, where ``{"model": ...}`` is
            looked into, or ``.safetensors``). Files are loaded without running code.
        module: An ``AsrModel``, a ``Transducer``, or an ``Encoder``. The last two leave known
            parameters that they have no part for: projections of the simple loss and other heads.

    Returns:
        The module.

    Raises:
        ValueError: On a missing or unknown parameter or a wrong shape, naming it; the module is
            then unchanged.
    """
    encoder_only = isinstance(module, Encoder)
    found: dict[str, Tensor] = {}
    unknown = []
    for name, value in _read(source).items():
        if _DEAD.match(name):
            continue
        ours = _rename(name, _ENCODER_RULES)
        if ours is not None:
            found[ours.removeprefix("encoder.") if encoder_only else ours] = value
        elif (ours := _rename(name, _HEAD_RULES)) is not None:
            if not encoder_only:
                found[ours] = value
        elif (ours := _rename(name, _TRAINING_RULES)) is None:
            unknown.append(name)
        elif isinstance(module, AsrModel):
            found[ours] = value
    _check(found, module, unknown)
    module.load_state_dict(found)
    return module


def _read(source: Mapping[str, Tensor] | str | Path) -> Mapping[str, Tensor]:
    if isinstance(source, Mapping):
        return source.get("model", source)  # type: ignore[return-value]
    path = Path(source)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state.get("model", state)


def _rename(name: str, rules: list[tuple[str, str]]) -> str | None:
    for pattern, replacement in rules:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return None


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
