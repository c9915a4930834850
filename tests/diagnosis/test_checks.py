"""Each check notices what it is there for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from zipformer import ops
from zipformer.diagnosis import largest, machine, operations, speech, steps, waiting
from zipformer.diagnosis.check import Setting, Skip
from zipformer.diagnosis.steps import DrawsOfTheCpu, Trainer, check_step
from zipformer.diagnosis.tiny_runs import distance, judge
from zipformer.diagnosis.waiting import waiting_lines
from zipformer.tokens import open_tokenizer


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting("cpu", tmp_path)


def test_a_wrong_operation_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ops.swoosh_r

    def wrong(x: torch.Tensor) -> torch.Tensor:
        return right(x) * (1.001 if ops.backend() == "fused" else 1.0)

    monkeypatch.setattr(ops, "swoosh_r", wrong)
    with pytest.raises(ArithmeticError, match=r"formulas: SwooshR in float32: 1.0e-03, more than"):
        operations.check_operations(setting)


def test_a_wrong_gradient_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        y = x.square()
        return y + 0.1 * (x - x.detach()) if ops.backend() == "fused" else y

    case = operations._with_gradients(lambda i: wrong(i["x"]))
    device = torch.device("cpu")
    assert operations._error(case, {"x": torch.randn(9)}, device) > 1e-2
    nan = operations._error(lambda i: [i["x"] / 0.0 * 0.0], {"x": torch.ones(2)}, device)
    assert nan != nan


def test_a_step_too_far_from_float32_fails(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "on a CPU" in check_step(setting, "bf16").note
    monkeypatch.setattr(steps, "BOUNDS", {"bf16": (0.02, 1e-4)})
    with pytest.raises(ArithmeticError, match=r"gradients differ by .* % of their norm; allowed"):
        check_step(setting, "bf16")
    with pytest.raises(Skip, match="compared with"):
        check_step(setting, "fp32")


def test_draws_of_a_device_are_those_of_the_cpu() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4, 2)
    torch.manual_seed(3)
    with DrawsOfTheCpu():
        assert torch.rand(4, 2, device="meta").device.type == "meta"
    torch.manual_seed(3)
    with DrawsOfTheCpu():
        found = torch.rand((4, 2), device=torch.device("cpu"))
    assert torch.equal(found, wanted)


class Waiting:
    """Stands in for a trainer whose steps wait in some lines."""

    def step(self, batch: Any) -> None:
        package = Path(steps.__file__).parents[1]
        for name, line in (("training/step.py", 7), ("/elsewhere/torch.py", 9)):
            said = "called a synchronizing CUDA operation (Triggered internally)"
            warnings.warn_explicit(said, UserWarning, str(package / name), line)
        warnings.warn("something else", stacklevel=1)


def test_every_line_that_waits_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    found = waiting_lines(Waiting(), None)  # type: ignore[arg-type]
    assert found == ["/elsewhere/torch.py:9", "training/step.py:7"]
    assert modes == ["warn", "default"]


def test_waits_are_looked_for_by_warnings_and_by_errors(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(waiting, "spread", lambda seconds, longest: [1.0, 0.8])
    monkeypatch.setattr(
        waiting,
        "Trainer",
        lambda folder, device, format, size: Trainer(folder, "cpu", format, speech.TINY),
    )
    found = waiting.check_waits(setting)
    assert found.note == "no wait beside the marked ones, in bf16 and fp16"
    assert modes == ["warn", "default", "error", "default"] * 2


def test_the_largest_batch_is_found_by_doubling_and_halving(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def fits(trainer: object, seconds: float) -> bool:
        tried.append(seconds)
        return seconds < 1300.0

    monkeypatch.setattr(largest, "_fits", fits)
    monkeypatch.setattr(
        largest,
        "Trainer",
        lambda folder, device, format, size, menus: Trainer(folder, "cpu", format, speech.TINY),
    )
    assert largest.check_largest(setting, "S").note == "data.max_duration up to 1200, in fp32"
    assert tried == [200.0, 400.0, 800.0, 1600.0, 1200.0, 1400.0, 1300.0]
    monkeypatch.setattr(largest, "_fits", lambda trainer, seconds: False)
    with pytest.raises(RuntimeError, match="200 s does not fit"):
        largest.check_largest(setting, "S")


def test_runs_that_should_be_one_are_measured_by_their_way() -> None:
    start, theirs = {"w": torch.zeros(4)}, {"w": torch.ones(4)}
    assert distance(theirs, theirs, start) == 0.0
    near = {"w": torch.full((4,), 1.01)}
    assert distance(near, theirs, start) == pytest.approx(0.01, rel=1e-4)
    assert "1 % of their way apart" in judge(0.01, "cuda", "runs").note
    for device, apart in (("cpu", 1e-9), ("cuda", 0.2), ("cuda", float("nan"))):
        with pytest.raises(ArithmeticError, match=r"^runs: the weights are"):
            judge(apart, device, "runs")


def test_no_compiler_matters_only_with_a_gpu(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(Skip, match="only kernels for a GPU need it; no C compiler was found"):
        machine.compiler(setting)
    with pytest.raises(FileNotFoundError, match="install gcc, or name one in CC"):
        machine.compiler(Setting("cuda", setting.folder))


def test_speech_is_the_same_every_time_and_can_be_written(tmp_path: Path) -> None:
    one, other = (speech.random_batch([1.0, 0.5], 8, 50, seed=4) for _ in range(2))
    assert torch.equal(one.features, other.features) and one.tokens == other.tokens
    assert one.feature_lens.tolist() == [100, 50] and one.seconds == pytest.approx(1.5)
    assert sum(speech.spread(600.0, 16.0)) == pytest.approx(600.0, rel=0.05)
    speech.write_tokenizer(tmp_path / "bpe.model", 60)
    tokenizer = open_tokenizer(tmp_path / "bpe.model")
    assert tokenizer.vocab_size == 60
    words = speech._words()[:20]
    assert not tokenizer.unknown_characters(" ".join(words))
