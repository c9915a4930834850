"""Files that others wrote, read as data: nothing in them runs, and nothing is imported for them."""

from __future__ import annotations

import pathlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
from torch.torch_version import TorchVersion

# What checkpoints of a training hold besides tensors and plain values, by the name they have there.
# Paths are read as pure ones, which exist on every system and touch no file.
_ALLOWED: list[tuple[type, str]] = [
    (pathlib.PurePosixPath, "pathlib.PosixPath"),
    (pathlib.PurePosixPath, "pathlib.PurePosixPath"),
    (pathlib.PurePosixPath, "pathlib._local.PosixPath"),  # as Python 3.13 writes it
    (pathlib.PureWindowsPath, "pathlib.WindowsPath"),
    (TorchVersion, "torch.torch_version.TorchVersion"),
]
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class PublishedFile:
    """What a published file holds.

    Args:
        path: Of the file.
        content: A state dict, or ``{"model": a state dict, ...}`` with settings of the training.
        placeholders: Names of classes whose objects were left out, as nothing is imported.
    """

    path: Path
    content: Mapping[str, object]
    placeholders: tuple[str, ...] = ()

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The state dict.

        Raises:
            ValueError: If there is something else under ``model``.
        """
        return published_weights(self.content, str(self.path))

    @property
    def settings(self) -> dict[str, object]:
        """Plain values that a training stored beside its weights, such as ``encoder_dim``."""
        plain = (bool, int, float, str, list, tuple)
        beside = self.content.items() if "model" in self.content else ()
        return {name: value for name, value in beside if isinstance(value, plain)}


def read_published(path: Path) -> PublishedFile:
    """Reads a published file onto the CPU, as data only.

    Of what is no tensor and no plain value, paths and a few containers are read; objects of other
    classes are replaced by placeholders, without importing the class. A file that calls a function
    to be loaded is refused.

    Args:
        path: ``.pt``, or ``.safetensors``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or refused, is a TorchScript program, or holds no
            dictionary.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name a checkpoint (.pt or .safetensors)")
    _check_kind(path)
    placeholders: tuple[str, ...] = ()
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content, placeholders = _read_pickle(path)
    except (RuntimeError, EOFError, KeyError, OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint: {error}. If it was downloaded, the download may "
            "not have finished"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, no parameters by name")
    return PublishedFile(path, content, placeholders)


def published_weights(content: Mapping[str, object], name: str) -> Mapping[str, Tensor]:
    """The state dict in the content of a file.

    Args:
        content: A state dict, or ``{"model": a state dict, ...}``.
        name: Of the file, for messages.

    Raises:
        ValueError: If there is something else under ``model``.
    """
    weights = content.get("model", content)
    if not isinstance(weights, Mapping):
        what = type(weights).__name__
        raise ValueError(f"{name} holds a {what} under 'model', no parameters by name")
    return weights


def _check_kind(path: Path) -> None:
    """Refuses what torch could not read, or only as a program."""
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise ValueError(
                f"{path} is what git leaves in the place of a file that Git LFS keeps: fetch the "
                "file with git lfs pull"
            )
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise ValueError(
                    f"{path} is a TorchScript program, which would run when loaded: take the "
                    "weights that it was made of, mostly pretrained.pt or epoch-N.pt beside it"
                )


def _read_pickle(path: Path) -> tuple[object, tuple[str, ...]]:
    """What a file holds, and the names of the classes that placeholders stand for."""
    # mmap: the checkpoint of a training is several times the weights, all that is wanted here
    mmap = zipfile.is_zipfile(path)
    known = {name for _, name in _ALLOWED}
    while True:
        unknown = sorted(known - {name for _, name in _ALLOWED})
        classes = [(_placeholder(name), name) for name in unknown]
        try:
            with safe_globals([*_ALLOWED, *classes]):
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
            return content, tuple(unknown)
        except pickle.UnpicklingError as error:
            named = _named_in(path, error)
            if not named:
                raise ValueError(f"{path} is damaged, or no checkpoint") from error
            if named <= known:
                raise ValueError(_refusal(path, unknown, error)) from None
            known |= named


def _named_in(path: Path, error: pickle.UnpicklingError) -> set[str]:
    """What a file names that torch does not know; empty if that is not what is wrong with it."""
    try:
        return set(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # it cannot look into files of old versions of torch, nor into damaged ones
        return set(re.findall(r"GLOBAL ([\w.]+)", str(error)))


def _placeholder(name: str) -> type:
    """A class that stands for another: its objects are empty, and to call it is an error."""

    class Refusing(type):
        def __call__(cls, *args: object, **kwargs: object) -> object:
            raise pickle.UnpicklingError(f"GLOBAL {name} is called")

    def take_nothing(self: object, state: object) -> None:
        pass

    return Refusing(name.rpartition(".")[2], (), {"__setstate__": take_nothing})


def _refusal(path: Path, unknown: list[str], error: pickle.UnpicklingError) -> str:
    called = re.findall(r"GLOBAL ([\w.]+)", str(error))
    names = ", ".join(called or unknown)
    return (
        f"{path} is refused: it names {names}, and to load that could run code. If you trust the "
        "file, open it with the program that wrote it and save its weights alone: "
        'torch.save({"model": checkpoint["model"]}, "weights.pt")'
    )
