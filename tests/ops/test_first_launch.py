"""Kernels are used where one of them was seen to work; elsewhere PyTorch code is, with a word."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from zipformer import ops
from zipformer.ops import choice, first_launch

GPU = torch.device("cuda:0")  # no tensor is made there
PTXAS = RuntimeError("Cannot find ptxas\nand more of it")
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


class TensorOnGpu:
    """What ``choose`` asks a tensor."""

    device = GPU


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing is remembered from other tests, or left to them."""
    for remembered in (first_launch.examine, choice._warn):
        remembered.cache_clear()
    yield
    for remembered in (first_launch.examine, choice._warn):
        remembered.cache_clear()


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], list[torch.device]]:
    """Replaces the launch by one with this outcome; gives the devices on which it was tried."""

    def replace(error: Exception | None) -> list[torch.device]:
        tried = []

        def launch(device: torch.device) -> None:
            tried.append(device)
            if error is not None:
                raise error

        monkeypatch.setattr(first_launch, "_launch", launch)
        return tried

    return replace


def plain(x: int) -> int:
    return x


def faster(x: int) -> int:
    return x


@needs_triton
def test_a_failed_launch_is_told_once_and_pytorch_takes_over(
    launches: Callable[[Exception | None], list[torch.device]], caplog: pytest.LogCaptureFixture
) -> None:
    tried = launches(PTXAS)
    with ops.use("fused"):
        assert ops.probe(GPU) == "RuntimeError: Cannot find ptxas"
        for _ in range(3):
            assert choice.choose(TensorOnGpu(), plain, faster, kernel="join") is faster
            assert choice.choose(TensorOnGpu(), plain, kernel="join") is plain
    assert tried == [GPU]
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    for part in ("cuda:0", "Cannot find ptxas", "PyTorch code", "ZIPFORMER_OPS=triton"):
        assert part in record.getMessage()
    assert "and more of it" not in record.getMessage()


@needs_triton
def test_where_kernels_are_asked_for_a_failed_launch_is_an_error_with_its_cause(
    launches: Callable[[Exception | None], list[torch.device]],
) -> None:
    launches(PTXAS)
    with ops.use("triton"):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="on cuda:0: .*ptxas.*OPS=fused") as raised:
                choice.choose(TensorOnGpu(), plain, faster, kernel="join")
            assert raised.value.__cause__ is PTXAS


@needs_triton
def test_a_launch_that_works_is_made_once_and_kernels_are_used(
    launches: Callable[[Exception | None], list[torch.device]], caplog: pytest.LogCaptureFixture
) -> None:
    tried = launches(None)
    with ops.use("fused"):
        assert ops.probe(GPU) == ops.probe(GPU) == ""
        chosen = choice.choose(TensorOnGpu(), plain, faster, kernel="join")
        assert chosen.__module__ == "zipformer.ops.on_cuda"
        ops.probe(torch.device("cuda:1"))
    assert tried == [GPU, torch.device("cuda:1")]
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_formulas_and_a_cpu_need_no_launch(
    launches: Callable[[Exception | None], list[torch.device]],
) -> None:
    tried = launches(None)
    with ops.use("reference"):
        assert "asked for" in ops.probe(GPU)
        assert choice.choose(TensorOnGpu(), plain, faster, kernel="join") is plain
    with ops.use("fused"):
        assert "not cpu" in ops.probe(torch.device("cpu"))
    assert not tried


def test_without_triton_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with ops.use("fused"):
        assert ops.probe(GPU) == "triton is not installed"
    for device in (GPU, torch.device("cpu")):
        with ops.use("triton"), pytest.raises(RuntimeError, match="triton is not installed"):
            ops.probe(device)


@needs_triton
def test_a_missing_c_compiler_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By Triton itself, which looks for one when it builds what launches a kernel."""
    build = pytest.importorskip("triton.runtime.build")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(
        first_launch, "_launch", lambda device: build.compile_module_from_src("int a;", "launcher")
    )
    with ops.use("fused"):
        assert ops.probe(GPU).startswith("no C compiler was found (RuntimeError: ")
    assert "Install gcc" in caplog.text


@needs_triton
def test_missing_headers_of_python_are_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    launches: Callable[[Exception | None], list[torch.device]],
) -> None:
    launches(subprocess.CalledProcessError(1, ["gcc", "launcher.c"]))
    assert "Python.h" not in first_launch.examine(torch.device("cuda:1")).reason
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    finding = first_launch.examine(GPU)
    assert f"{tmp_path}/Python.h is missing" in finding.reason
    assert "python3-dev" in finding.advice


@needs_triton
def test_a_device_without_memory_says_nothing_of_kernels(
    launches: Callable[[Exception | None], list[torch.device]],
) -> None:
    launches(torch.OutOfMemoryError("CUDA out of memory"))
    with ops.use("fused"), pytest.raises(torch.OutOfMemoryError):
        ops.probe(GPU)
    launches(None)
    with ops.use("fused"):
        assert ops.probe(GPU) == ""
