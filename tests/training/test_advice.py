"""Advice on the learning rate follows from published runs, and is given where it helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from zipformer.config import RunConfig
from zipformer.config.command_line import load_config
from zipformer.training.advice import learning_rate_advice, suggested_lr, suggested_warmup

LIBRISPEECH = 3 * 960 * 3600.0  # seconds of an epoch, with the copies of other speed


def config(*words: object) -> RunConfig:
    return load_config(None, [str(word) for word in words])


@pytest.mark.parametrize(
    ("base_lr", "max_duration", "world_size"),
    [(0.045, 1000, 4), (0.04, 1500, 2), (0.045, 2200, 8)],
    ids=["medium", "small", "large on 8"],
)
def test_published_runs_need_no_advice(
    base_lr: float, max_duration: float, world_size: int
) -> None:
    run = config("--base-lr", base_lr, "--max-duration", max_duration, "--num-epochs", 30)
    assert learning_rate_advice(run, world_size, LIBRISPEECH) == []


@pytest.mark.parametrize(
    ("base_lr", "max_duration"), [(0.045, 300), (0.035, 300), (0.03, 300), (0.015, 200)]
)
def test_what_users_saw_diverge_is_warned_of(base_lr: float, max_duration: float) -> None:
    run = config("--base-lr", base_lr, "--max-duration", max_duration)
    first, second, third = learning_rate_advice(run, 1)
    assert f"{max_duration} s of audio" in first and f"optim.base_lr = {base_lr}" in first
    assert "--base-lr" in second and "--warmup-batches" in second and "--accumulate" in third


def test_the_suggestion_lies_among_the_published_points_and_reports() -> None:
    assert suggested_lr(4000) == 0.045
    assert suggested_lr(3000) == pytest.approx(0.04, rel=0.03)
    assert suggested_lr(17600) == 0.045  # never above
    assert 0.045 / 5 < suggested_lr(300) < 0.015  # this much helped, this much diverged


@pytest.mark.parametrize("seconds", [30.0, 300.0, 2000.0, 4000.0])
def test_the_rate_rises_as_fast_per_second_as_published(seconds: float) -> None:
    per_second = suggested_lr(seconds) / (suggested_warmup(seconds) * seconds)
    assert per_second == pytest.approx(0.045 / (500 * 4000), rel=1e-3)


def test_following_the_advice_silences_it() -> None:
    words = ["--max-duration", 200, "--num-epochs", 30, "--base-lr"]
    _, hint, larger = learning_rate_advice(config(*words, 0.045), 1, LIBRISPEECH)
    advised = hint.split("--base-lr ")[1].split(" (")[0].split()
    assert learning_rate_advice(config(*words, *advised), 1, LIBRISPEECH) == []
    assert larger.endswith("--accumulate 20")
    assert learning_rate_advice(config(*words, 0.045, "--accumulate", 20), 1, LIBRISPEECH) == []


def test_processes_and_accumulation_make_the_step() -> None:
    run = config("--max-duration", 250, "--accumulate", 4)
    assert learning_rate_advice(run, 1)
    assert learning_rate_advice(run, 4) == []


def test_a_short_run_gets_a_short_warmup_and_a_fast_clock() -> None:
    hours = 3600.0
    run = config("--max-duration", 300, "--num-epochs", 30, "--base-lr", 0.012)
    warmup, clock = learning_rate_advice(run, 1, 2 * hours)
    assert "a fifth of this run's about 720 steps: --warmup-batches 72 " in warmup
    assert "after 3333 h of audio, this run has 60 h" in clock
    words = ["--max-duration", 300, "--num-epochs", 30, "--base-lr", 0.012]
    advised = [*warmup.split("steps: ")[1].split()[:2], *clock.split("h: ")[1].split()[:2]]
    assert learning_rate_advice(config(*words, *advised), 1, 2 * hours) == []


def test_larger_steps_are_no_way_out_of_a_short_run() -> None:
    run = config("--max-duration", 40, "--num-epochs", 4)
    assert not any("--accumulate" in line for line in learning_rate_advice(run, 1, 2 * 3600.0))


def test_max_steps_may_be_what_makes_a_run_short() -> None:
    run = config("--max-duration", 1000, "--max-steps", 1000)
    known = learning_rate_advice(run, 4, LIBRISPEECH)
    assert any("about 1000 steps" in line for line in known)
    assert learning_rate_advice(run, 4) == known


def test_a_trial_of_a_few_steps_is_left_alone() -> None:
    run = config("--max-duration", 1000, "--max-steps", 20)
    assert learning_rate_advice(run, 4, LIBRISPEECH) == []


def test_fine_tuning_gets_its_own_preset() -> None:
    start = ["--init-from", "exp/causal", "--max-duration", 1000]
    rate, clock = learning_rate_advice(config(*start), 4, LIBRISPEECH)
    assert "--base-lr 0.0045 --lr-epochs 100 --lr-batches 100000" in rate
    assert "--ref-seconds 0.01" in clock
    preset = ["--base-lr", 0.0045, "--ref-seconds", 0.01]
    assert learning_rate_advice(config(*start, *preset), 4, LIBRISPEECH) == []


def test_recipes_that_were_made_for_their_data_are_left_alone() -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "librispeech"
    for name, world_size in {"small": 2, "medium": 4, "large": 4, "finetune": 4}.items():
        run = load_config(recipe / f"{name}.toml")
        assert learning_rate_advice(run, world_size, LIBRISPEECH) == [], name
    mini = 3 * 2.16 * 3600
    assert learning_rate_advice(load_config(recipe / "mini_small.toml"), 1, mini) == []
