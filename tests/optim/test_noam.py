"""Noam is the published formula, goes through the one loop, and says what its base rate is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.tiny_task import TinyTask, tiny_config

from zipformer.checkpoint import files as checkpoint
from zipformer.config import OptimConfig, RunConfig
from zipformer.config.command_line import load_config
from zipformer.optim import Adam, Eden, Noam
from zipformer.training.advice import learning_rate_advice
from zipformer.training.loop import fit
from zipformer.training.metrics import read_metrics

NOAM = OptimConfig(kind="adam", base_lr=0.5, lr_schedule="noam", noam_dim=16, warmup_batches=4.0)


def with_noam(config: RunConfig) -> RunConfig:
    return replace(config, optim=NOAM)


def make(base_lr: float = 5.0, dim: int = 512, warmup: float = 10_000.0) -> Noam:
    return Noam(Adam([torch.nn.Parameter(torch.ones(2))], lr=base_lr), dim, warmup)


def rate(noam: Noam) -> float:
    return float(noam.optimizer.param_groups[0]["lr"])


def test_the_rate_rises_evenly_then_falls_with_the_root_of_the_batches() -> None:
    noam = make()
    highest = 5.0 / (512 * 10_000) ** 0.5  # 0.0022
    for batch, share in ((0, 1e-4), (99, 0.01), (4999, 0.5), (9999, 1.0), (39999, 0.5)):
        noam.step_batch(batch)
        assert rate(noam) == pytest.approx(share * highest), batch


def test_epochs_change_nothing_and_the_state_is_that_of_every_schedule() -> None:
    noam, other = make(), make()
    noam.step_batch(300)
    before = rate(noam)
    noam.step_epoch(7)
    assert rate(noam) == before
    eden = Eden(Adam([torch.nn.Parameter(torch.ones(2))], lr=1.0), 10.0, 2.0)
    assert noam.state_dict().keys() == eden.state_dict().keys()
    other.load_state_dict(noam.state_dict())
    assert rate(other) == before and noam.state_dict() == {"batch": 300, "epoch": 7}


@pytest.mark.parametrize("dim,warmup", [(0, 10.0), (512, 0.0)])
def test_settings_that_make_no_rate_are_refused(dim: int, warmup: float) -> None:
    with pytest.raises(ValueError, match="noam_dim >= 1 and warmup_batches >= 1"):
        make(dim=dim, warmup=warmup)


def test_a_run_takes_the_rates_of_the_formula_and_resumes_exactly(tmp_path: Path) -> None:
    folders = tmp_path / "straight", tmp_path / "resumed"
    fit(with_noam(tiny_config(folders[0], num_epochs=2, log_every=1)), TinyTask())
    for steps in (5, 0):
        fit(with_noam(tiny_config(folders[1], num_epochs=2, max_steps=steps)), TinyTask())
    straight, resumed = (checkpoint.load(folder / "epoch-2.pt") for folder in folders)
    for name, value in straight["model"].items():
        assert torch.equal(value, resumed["model"][name])
    records = [r for r in read_metrics(folders[0] / "metrics.jsonl") if r["kind"] == "train"]
    assert [r["step"] for r in records] == list(range(1, 15))
    wanted = [0.5 * 16**-0.5 * min(t**-0.5, t * 4**-1.5) for t in range(1, 15)]
    assert [r["lr"] for r in records] == pytest.approx(wanted)


def test_another_schedule_on_resume_is_warned_of_and_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    eden = replace(NOAM, lr_schedule="eden", base_lr=0.002)
    fit(replace(tiny_config(tmp_path, max_steps=2, log_every=1), optim=eden), TinyTask())
    fit(with_noam(tiny_config(tmp_path, max_steps=3, log_every=1)), TinyTask())
    assert "optim.lr_schedule: eden -> noam" in caplog.text
    records = [r for r in read_metrics(tmp_path / "metrics.jsonl") if r["kind"] == "train"]
    assert records[-1]["lr"] == pytest.approx(0.5 * 16**-0.5 * 3 * 4**-1.5)


def advice(*words: str) -> list[str]:
    return learning_rate_advice(load_config(None, ["--lr-schedule", "noam", *words]), 1)


def test_a_base_rate_that_is_meant_for_eden_is_advised_against() -> None:
    adam = ["--optim.kind", "adam", "--warmup-batches", "10000"]
    (line,) = advice(*adam, "--base-lr", "0.001")
    assert "is a factor with optim.lr_schedule = noam" in line and "--base-lr 2.3" in line
    for published in ("2.5", "5", "7.5", "10"):
        assert advice(*adam, "--base-lr", published) == []
    (line,) = advice(*adam, "--base-lr", "100")
    assert "the rate rises to 0.044" in line
    assert "usually 0.045" in advice()[0]
