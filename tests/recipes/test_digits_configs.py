"""The configs of the digits recipe differ from unified.toml in what their name says, no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from zipformer.config.command_line import load_config
from zipformer.config.keys import flatten, is_under
from zipformer.config.toml import to_dict

RECIPE = Path(__file__).parents[2] / "recipes" / "digits"
CONTEXT = ("context.chunk", "context.policy", "context.curriculum_steps")
DIFFERENT = {
    "unified": (),
    "windowed": ("context.right_mode", "context.max_window_ratio"),
    "fixed_right": ("context.right",),
    "no_right": ("context.right",),
    "sampled": ("method", *CONTEXT),
    "dual": ("method", *CONTEXT),
    "distill": ("method", *CONTEXT),
    "consistency": ("method", *CONTEXT),
    "multi_decoder": ("method", *CONTEXT),
    "conformer": ("encoder",),
    "cr_ctc": ("method", "model", "loss", "data.spec_augment", "data.max_duration"),
}


def test_every_config_is_tested() -> None:
    assert sorted(path.stem for path in RECIPE.glob("*.toml")) == sorted(DIFFERENT)


@pytest.mark.parametrize("name", DIFFERENT)
def test_it_differs_in_what_its_name_says(name: str) -> None:
    here, base = (
        flatten(to_dict(load_config(RECIPE / f"{n}.toml", []))) for n in (name, "unified")
    )
    different = {key for key in here if here[key] != base.get(key)} - {"train.exp_dir"}
    assert {key for key in different if not is_under(key, DIFFERENT[name])} == set()
    assert all(any(is_under(key, (wanted,)) for key in different) for wanted in DIFFERENT[name])
    assert str(here["train.exp_dir"]).endswith(f"exp/digits/{name}")
