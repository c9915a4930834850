"""Published parameters under their published names, read into our modules.

The checkpoints of the icefall recipes name their parameters by module; inside a layer our names are
the same, above it ours are plainer.
"""

from __future__ import annotations

import pathlib
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
from torch.torch_version import TorchVersion

from zipformer.model import AsrModel
from zipformer.nn.streaming_encoder import StreamingEncoder
from zipformer.nn.zipformer.encoder import Encoder

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
    (r"^attention_decoder\.decoder\.", "attention_decoder."),
]
_TRAINING_RULES = [(r"^(simple_am_proj|simple_lm_proj|ctc_output)\.", r"\1.")]
_TRAINING_PARTS = ("simple_am_proj.", "simple_lm_proj.", "ctc_output.")
_ATTENTION_PART = "attention_decoder."
# Present in every published checkpoint, used by none.
_DEAD = re.compile(r"^encoder\.stacks\.\d+\.layers\.\d+\.bypass_scale$")
_SHOWN = 5  # names that an error message lists

# What checkpoints of a training hold besides tensors and plain values, by the name they have there.
# Paths are read as pure ones, which exist on every system and touch no file.
_ALLOWED: list[tuple[type, str]] = [
    (pathlib.PurePosixPath, "pathlib.PosixPath"),
    (pathlib.PurePosixPath, "pathlib.PurePosixPath"),
    (pathlib.PurePosixPath, "pathlib._local.PosixPath"),  # as Python 3.13 writes it
    (pathlib.PureWindowsPath, "pathlib.WindowsPath"),
    (TorchVersion, "torch.torch_version.TorchVersion"),
]


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
        weights = published_weights(read_published(Path(source)), str(source))
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


def read_published(path: Path) -> dict[str, object]:
    """Reads a published file onto the CPU, as data only.

    Checkpoints of a training hold settings beside the weights. Of what is no plain value, paths
    and a few containers are let through by name; anything else, which could run code, is refused.

    Args:
        path: ``.pt``, or ``.safetensors``.

    Returns:
        What the file holds: a state dict, or ``{"model": a state dict, ...}``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds no dictionary, or names something that is not
            allowed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name a checkpoint (.pt or .safetensors)")
    content = _guarded(path, load_file if path.suffix == ".safetensors" else _read_pickle)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, no parameters by name")
    return content


def published_weights(content: Mapping[str, object], name: str) -> Mapping[str, Tensor]:
    """The state dict in what ``read_published`` returns.

    Args:
        content: What was read.
        name: Of the file, for messages.

    Raises:
        ValueError: If there is something else under ``model``.
    """
    weights = content.get("model", content)
    if not isinstance(weights, Mapping):
        what = type(weights).__name__
        raise ValueError(f"{name} holds a {what} under 'model', no parameters by name")
    return weights


def rename_published(
    weights: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sorts published parameters by whether a whole model has a part for them.

    Returns:
        Those that it has, under our names; and the others as they are. Parameters that the
        published code itself never uses are in neither.
    """
    rules = [*_ENCODER_RULES, *_HEAD_RULES, *_TRAINING_RULES]
    known: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    for name, value in weights.items():
        ours = _rename(name, rules)
        if ours is not None:
            known[ours] = value
        else:
            others[name] = value
    return {n: v for n, v in known.items() if not _DEAD.match(n)}, others


def _rename(name: str, rules: list[tuple[str, str]]) -> str | None:
    for pattern, replacement in rules:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return None


def _guarded(path: Path, read: Callable[[Path], object]) -> object:
    try:
        return read(path)
    except pickle.UnpicklingError as error:
        refused = _refused_globals(path, error)
        if not refused:
            raise ValueError(f"{path} is damaged, or no checkpoint") from error
        raise ValueError(
            f"{path} is refused: it names {', '.join(refused)}, and to load that could run code. "
            "If you trust the file, open it with the program that wrote it and save its weights "
            'alone: torch.save({"model": checkpoint["model"]}, "weights.pt")'
        ) from None
    except (RuntimeError, EOFError, KeyError, OSError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged, or no checkpoint: {error}") from None


def _read_pickle(path: Path) -> object:
    with safe_globals(_ALLOWED):  # type: ignore[arg-type]
        # mmap: the checkpoint of a training is several times the weights, all that is wanted here
        mmap = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def _refused_globals(path: Path, error: pickle.UnpicklingError) -> list[str]:
    """What a file names that is not allowed, sorted; empty if that is not what is wrong with it."""
    try:
        named = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # it cannot look into files of old versions of torch, nor into damaged ones
        named = re.findall(r"GLOBAL ([\w.]+)", str(error))
    return sorted(set(named) - {name for _, name in _ALLOWED})


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
