"""Device and number format of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import torch


class Precision:
    """Device and number format of a run.

    In ``fp32`` a CUDA device multiplies matrices in TF32 where it can: factors of 10 bits, sums of
    23, as convolutions always do in torch. ``NVIDIA_TF32_OVERRIDE=0`` turns that off.

    Args:
        device: ``auto`` takes CUDA where there is one.
        precision: ``fp32``, or ``bf16`` / ``fp16`` for autocast with float32 weights; ``auto`` is
            float32 on a CPU, and on CUDA bfloat16 where the card computes it, else float16.
        local_rank: Which CUDA device to take.
        slow_fp16: Lets ``fp16`` run on a CPU, which is good for nothing but a test.

    Attributes:
        name: ``fp32``, ``bf16`` or ``fp16``.
        description: The same for people, with what else they should know.

    Raises:
        ValueError: If the machine cannot do what is asked for.
    """

    def __init__(
        self,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        local_rank: int = 0,
        slow_fp16: bool = False,
    ) -> None:
        has_cuda = torch.cuda.is_available()
        if device == "cuda" and not has_cuda:
            raise ValueError("train.device = cuda, but torch finds no CUDA device; use auto or cpu")
        on_cuda = device != "cpu" and has_cuda
        self.device = torch.device("cuda", local_rank) if on_cuda else torch.device("cpu")
        if on_cuda:
            check_built_for(self.device)
        if precision == "auto":
            best = "bf16" if on_cuda and _computes_bf16(self.device) else "fp16"
            self.name = best if on_cuda else "fp32"
        else:
            self.name = str(precision)
        if self.name == "fp16" and not (on_cuda or slow_fp16):
            raise ValueError(
                "train.precision = fp16 needs a CUDA device; use fp32 or bf16 on a CPU"
            )
        self.description = self.name
        if on_cuda and self.name == "fp32" and _has_tf32(self.device):
            torch.set_float32_matmul_precision("high")
            self.description = "fp32 with products in TF32 (NVIDIA_TF32_OVERRIDE=0 turns it off)"
        # The losses are sums over a batch, so they are large: start without scaling them up.
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=1.0, growth_interval=500, enabled=self.name == "fp16"
        )

    def autocast(self) -> AbstractContextManager[None]:
        """The context to run forward passes in."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def state_dict(self) -> dict[str, float]:
        """The scale of the loss in ``fp16``; nothing in other formats, which have none."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Takes the scale over, if this run and the stored one have one."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(dict(state))


def check_built_for(device: torch.device) -> None:
    """Refuses a GPU that the installed torch has no code for.

    Raises:
        ValueError: Naming the GPU, what torch was built for, and what to install.
    """
    found, built = torch.cuda.get_device_capability(device), torch.cuda.get_arch_list()
    if runs_on(found, built):
        return
    major, minor = found
    raise ValueError(
        f"the installed torch {torch.__version__} has no code for {device}, "
        f"{torch.cuda.get_device_name(device)} (sm_{major}{minor}), only for {' '.join(built)}: "
        "install a build that has (of older GPUs, V100 is in the builds for CUDA 12.6, cu126), "
        "or set train.device = cpu"
    )


def runs_on(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether a GPU runs code that was built for some architectures.

    Machine code (``sm_``) runs on later minor versions of its major one; code that the driver
    finishes (``compute_``) runs on everything later.

    Args:
        capability: Of the GPU, major and minor version.
        built: As ``torch.cuda.get_arch_list`` gives them; an empty list, of a build that does not
            say, counts as everything.
    """
    for name in built:
        kind, major, minor, specific = _parsed(name)
        here = (major, minor)
        if specific:  # sm_90a runs on 9.0 and nowhere else
            fits = here == capability
        elif kind == "sm":
            fits = major == capability[0] and minor <= capability[1]
        else:
            fits = here <= capability
        if fits:
            return True
    return not built


def _parsed(name: str) -> tuple[str, int, int, bool]:
    """``sm_90a`` -> kind, major and minor version, and whether it is of one architecture only."""
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
    if match is None:  # of another maker, whose list says nothing here
        return "compute", 0, 0, False
    kind, major, minor, suffix = match.groups()
    return kind, int(major), int(minor), suffix == "a"


def _computes_bf16(device: torch.device) -> bool:
    """Whether the card does so itself; torch emulates it on older ones, slower than float32."""
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def _has_tf32(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)
