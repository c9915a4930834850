"""Plain Adam, and ScaledAdam without learned sizes, through the one loop: torch's steps, exact
resumption, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.tiny_task import TinyTask, tiny_config

from zipformer.checkpoint import files as checkpoint
from zipformer.config import OptimConfig, RunConfig
from zipformer.config.command_line import load_config
from zipformer.optim import Adam, Eden
from zipformer.training.advice import learning_rate_advice
from zipformer.training.loop import fit


def with_adam(config: RunConfig) -> RunConfig:
    return replace(config, optim=OptimConfig(kind="adam", base_lr=0.002, warmup_batches=4.0))


def test_steps_are_those_of_torch() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 6)) for _ in range(2))
    optimizer = Adam([ours], lr=0.1)
    reference = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.98))
    eden = Eden(optimizer, 3.0, 1.0, warmup_batches=0.0)
    for step in range(5):
        eden.step_batch(step)
        reference.param_groups[0]["lr"] = 0.1 * eden.factor()
        for p, o in ((ours, optimizer), (theirs, reference)):
            p.grad = torch.sin(7 * p.detach() + step)
            o.step()
    assert torch.equal(ours, theirs)


def test_a_run_learns_and_resumes_exactly(tmp_path: Path) -> None:
    folders = tmp_path / "straight", tmp_path / "resumed"
    fit(with_adam(tiny_config(folders[0], num_epochs=2)), TinyTask())
    for steps in (5, 0):
        fit(with_adam(tiny_config(folders[1], num_epochs=2, max_steps=steps)), TinyTask())
    straight, resumed = (checkpoint.load(folder / "epoch-2.pt") for folder in folders)
    assert "exp_avg" in straight["optimizer"]["state"][0]
    fresh = checkpoint.load(folders[1] / "checkpoint-5.pt")["model"]
    for name, value in straight["model"].items():
        assert torch.equal(value, resumed["model"][name])
        assert not torch.equal(value, fresh[name])


def test_another_optimizer_is_refused_on_resume(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    with pytest.raises(ValueError, match="another optimizer: optim.kind: scaled_adam -> adam"):
        fit(with_adam(tiny_config(tmp_path)), TinyTask())


def test_a_rate_of_scaled_adam_is_advised_against() -> None:
    words = ["--optim.kind", "adam", "--max-steps", "100000"]
    (line,) = learning_rate_advice(load_config(None, words), world_size=1)
    assert "optim.base_lr = 0.045 is a rate of scaled_adam" in line and "--base-lr 0.001" in line
    assert learning_rate_advice(load_config(None, [*words, "--base-lr", "0.001"]), 1) == []


def test_kinds_of_optimizers_are_listed() -> None:
    with pytest.raises(ValueError, match="'sgd' is none of scaled_adam, adam"):
        load_config(None, ["--optim.kind", "sgd"])
    with pytest.raises(ValueError, match="--encoder.kind or --method.kind or --optim.kind"):
        load_config(None, ["--kind", "adam"])


@pytest.mark.parametrize("learn_scale", [True, False])
def test_a_config_says_whether_scaled_adam_learns_sizes(learn_scale: bool, tmp_path: Path) -> None:
    optim = OptimConfig(learn_scale=learn_scale)
    fit(replace(tiny_config(tmp_path, max_steps=4), optim=optim), TinyTask())
    state = checkpoint.load(tmp_path / "checkpoint-4.pt")["optimizer"]["state"]
    learned = [bool(one["scale_exp_avg_sq"] > 0) for one in state.values()]
    assert learned == [learn_scale] * 4
