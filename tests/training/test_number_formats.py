"""What training computes in: every number format learns alike, and the machine is asked first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from trained_digits import CHECKPOINT, write_strings
from training.runs import stripped
from training.tiny_corpus import ENCODER, MODEL
from training.tiny_task import TinyTask, tiny_config

from zipformer.config import (
    ContextConfig,
    DataConfig,
    LossConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
)
from zipformer.data.loader import eval_batches
from zipformer.data.sampler import Share
from zipformer.losses import joined
from zipformer.optim import ScaledAdam
from zipformer.training import loop
from zipformer.training.asr import AsrTask
from zipformer.training.distributed import Processes
from zipformer.training.loop import fit
from zipformer.training.out_of_memory import is_out_of_memory
from zipformer.training.precision import Precision, runs_on
from zipformer.training.step import Updater

STEPS = 30


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A tiny recognizer with every head, and four strings of recorded digits."""
    manifest = write_strings(tmp_path_factory.mktemp("strings"), count=4)
    return RunConfig(
        encoder=replace(ENCODER, feature_mean=-10.0, feature_std=4.0),
        model=replace(
            MODEL,
            attention_decoder=True,
            aed_layers=1,
            aed_dim=16,
            aed_heads=2,
            aed_feedforward_dim=32,
        ),
        context=ContextConfig(chunk=(32, -1), left=(64,), right=(0, 64), right_mode="mixed"),
        loss=LossConfig(warm_steps=10, ctc_scale=0.5, aed_scale=0.5),
        schedule=ScheduleConfig(ref_seconds=0.01),
        data=DataConfig(
            train=(manifest,),
            bpe_model=CHECKPOINT.parent / "bpe.model",
            max_duration=100.0,
            num_workers=0,
        ),
        train=TrainConfig(device="cpu"),
    )


def losses(config: RunConfig, precision: Precision) -> list[float]:
    """Loss per frame at each of ``STEPS`` steps over the same batches."""
    task = AsrTask(config)
    batches = list(eval_batches(config.data.train[0], task.tokenizer, config.data))
    torch.manual_seed(0)
    model = task.build_model().train()
    optimizer = ScaledAdam(list(model.named_parameters()), lr=0.03, clipping_scale=2.0)
    update = Updater(task, model, optimizer, precision, Processes(), Share())
    found = []
    for step in range(STEPS):
        result = update([batches[step % len(batches)]], step)
        assert result.updated, (step, result.why)
        found.append((result.info["loss"] / result.info["frames"]).item())
    return found


@pytest.mark.long
def test_every_format_learns_as_float32_does(
    speech: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole batch is summed up at once, as on a GPU: its sums could leave float16's range."""
    monkeypatch.setattr(joined, "TILES", 1)
    wanted = torch.tensor(losses(speech, Precision("cpu", "fp32")))
    assert wanted[-1] < 0.5 * wanted[0]
    for name in ("bf16", "fp16"):
        found = torch.tensor(losses(speech, Precision("cpu", name, slow_fp16=True)))
        torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.0, msg=name)


@pytest.mark.parametrize(("before", "after"), [("bf16", "fp16"), ("fp16", "bf16")])
def test_a_run_goes_on_in_another_format(
    tmp_path: Path, before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Precision", partial(Precision, slow_fp16=True))
    fit(tiny_config(tmp_path, max_steps=4, save_every=4, precision=before), TinyTask())
    fit(tiny_config(tmp_path, max_steps=8, save_every=4, precision=after), TinyTask())
    last = stripped(tmp_path / "checkpoint-8.pt")
    assert last["state"]["step"] == 8 and last["state"]["skipped"] == 0
    assert bool(last["scaler"]) == (after == "fp16")


def test_the_scale_of_the_loss_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (Precision("cpu", "fp16", slow_fp16=True) for _ in range(2))
    one.scaler.scale(torch.ones(()))
    one.scaler.update(64.0)
    other.load_state_dict(one.state_dict())
    assert other.scaler.get_scale() == 64.0


def test_float16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16 needs a CUDA device"):
        Precision("cpu", "fp16")


class Card:
    """Stands in for ``torch.cuda`` on a machine with two cards, of which training gets one."""

    def __init__(self, capability: tuple[int, int], built: Sequence[str]) -> None:
        self.capability, self.built, self.current = capability, built, 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def is_bf16_supported(including_emulation: bool = True) -> bool:
            assert self.current == 1, "the wrong card was asked"
            return including_emulation or self.capability >= (8, 0)

        @contextmanager
        def device(chosen: torch.device) -> Iterator[None]:
            self.current = chosen.index
            yield
            self.current = 0

        for name, stand_in in {
            "is_available": lambda: True,
            "is_bf16_supported": is_bf16_supported,
            "device": device,
            "get_device_capability": lambda _: self.capability,
            "get_device_name": lambda _: "A Card",
            "get_arch_list": lambda: list(self.built),
        }.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)


NEW = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
OLD = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")


@pytest.mark.parametrize(
    ("capability", "built", "name"),
    [((7, 0), OLD, "fp16"), ((7, 5), NEW, "fp16"), ((8, 0), NEW, "bf16"), ((9, 0), NEW, "bf16")],
)
def test_auto_is_bfloat16_only_where_the_own_card_computes_it(
    capability: tuple[int, int],
    built: Sequence[str],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Card(capability, built).install(monkeypatch)
    assert Precision("auto", "auto", local_rank=1).name == name


def test_a_card_that_torch_was_not_built_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Card((7, 0), NEW).install(monkeypatch)
    with pytest.raises(ValueError, match=r"no code for cuda:1, A Card \(sm_70\).*sm_75.*cu126"):
        Precision("cuda", "fp32", local_rank=1)


@pytest.mark.parametrize(
    ("capability", "built", "fits"),
    [
        ((8, 9), ["sm_80"], True),  # machine code runs on later minor versions
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),  # the driver finishes it
        ((8, 0), ["compute_90"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_90a"], False),
        ((12, 0), ["sm_120"], True),
        ((12, 1), ["sm_120f"], True),
        ((9, 4), ["gfx942"], True),
        ((9, 0), [], True),
    ],
)
def test_which_code_a_card_runs(
    capability: tuple[int, int], built: Sequence[str], fits: bool
) -> None:
    assert runs_on(capability, built) == fits


def test_float32_on_a_card_takes_tf32_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", chosen.append)
    Card((8, 0), NEW).install(monkeypatch)
    assert "TF32" in Precision("cuda", "fp32", local_rank=1).description
    assert chosen == ["high"]
    others = [Precision("cuda", "bf16", local_rank=1), Precision("cpu", "fp32")]
    Card((7, 0), OLD).install(monkeypatch)  # it has none
    others.append(Precision("cuda", "fp32", local_rank=1))
    assert [p.description for p in others] == ["bf16", "fp32", "fp32"]
    assert chosen == ["high"]


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("Triton Error [CUDA]: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to"), True),
        (RuntimeError("std::bad_alloc"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("out of memory"), False),
    ],
    ids=str,
)
def test_every_form_of_running_out_of_memory_is_known(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) == is_memory


def test_memory_that_is_too_small_for_one_utterance_gets_other_advice(tmp_path: Path) -> None:
    class Hungry(TinyTask):
        def loss(self, model: Any, batch: Any, step: Any) -> Any:
            raise RuntimeError("CUDA error: out of memory")

        def build_loader(self, share: Share) -> Any:
            loader = super().build_loader(share)
            whole = loader.batch
            loader.batch = lambda *at: replace(whole(*at), cut_ids=["long"], seconds=40.0)
            return loader

    with pytest.raises(RuntimeError, match=r"a single cut, 40.0 s.*\(long\).*data.max_seconds"):
        fit(tiny_config(tmp_path), Hungry())
