"""Config from defaults, TOML and command line: precedence, strictness, and the way back."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zipformer import ZipformerConfig
from zipformer.config import RunConfig
from zipformer.config.command_line import load_config, parse_args
from zipformer.config.reading import from_dict
from zipformer.config.toml import to_dict, to_toml


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a recipe and gives its path."""

    def write(text: str) -> Path:
        path = tmp_path / "recipe" / "run.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


Recipe = Callable[[str], Path]


def test_toml_wins_over_defaults_and_command_line_over_toml(recipe: Recipe) -> None:
    path = recipe("[data]\nmax_duration = 500.0\nnum_buckets = 4\n[train]\nseed = 1\n")
    config = load_config(path, ["--max-duration", "700"])
    assert (config.data.max_duration, config.data.num_buckets, config.train.seed) == (700.0, 4, 1)
    assert config.optim == RunConfig().optim


def test_the_last_of_equal_options_wins() -> None:
    assert load_config(None, ["--seed", "1", "--train.seed=2"]).train.seed == 2


@pytest.mark.parametrize(
    "words,section,name,value",
    [
        (["--data.num-workers", "0"], "data", "num_workers", 0),
        (["--data.num_workers", "0"], "data", "num_workers", 0),
        (["--num-workers=0"], "data", "num_workers", 0),
        (["--base-lr", "1e-3"], "optim", "base_lr", 1e-3),
        (["--max-duration", "300"], "data", "max_duration", 300.0),
        (["--train.tensorboard", "false"], "train", "tensorboard", False),
        (["--model.ctc", "true"], "model", "ctc", True),
        (["--policy", "curriculum"], "context", "policy", "curriculum"),
        (["--context.chunk", "32,64,-1"], "context", "chunk", (32, 64, -1)),
        (["--context.chunk", "32 64 -1"], "context", "chunk", (32, 64, -1)),
        (["--context.chunk", "32", "64", "-1"], "context", "chunk", (32, 64, -1)),
        (["--context.chunk", "-1"], "context", "chunk", (-1,)),
        (["--noise-snr", "5,15"], "data", "noise_snr", (5.0, 15.0)),
        (
            ["--validation.contexts", "full,32/128/0"],
            "validation",
            "contexts",
            ("full", "32/128/0"),
        ),
        (["--data.noise", "none"], "data", "noise", None),
    ],
)
def test_values_on_the_command_line(words: list[str], section: str, name: str, value: Any) -> None:
    found = getattr(getattr(load_config(None, words), section), name)
    assert found == value and type(found) is type(value)


def test_nested_section_is_reached_by_any_unique_tail() -> None:
    for key in ("--time-warp", "--spec-augment.time-warp", "--data.spec_augment.time_warp"):
        assert load_config(None, [key, "7"]).data.spec_augment.time_warp == 7


def test_dashes_and_underscores_are_the_same_in_a_toml(recipe: Recipe) -> None:
    assert load_config(recipe("[data]\nmax-duration = 5.0\n")).data.max_duration == 5.0
    with pytest.raises(ValueError, match="twice"):
        load_config(recipe("[data]\nmax-duration = 5.0\nmax_duration = 6.0\n"))


def test_paths_are_relative_to_the_toml_or_the_working_directory(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = recipe('[data]\ntrain = ["a.gz", "../b.gz"]\n[data.test]\nclean = "c.gz"\n')
    words = ["--noise", "n.gz", "--data.valid", "my cuts/v.gz", "w.gz"]
    data = load_config(path, words).data
    assert data.train == (tmp_path / "recipe/a.gz", tmp_path / "b.gz")
    assert data.test == {"clean": tmp_path / "recipe/c.gz"}
    assert data.bpe_model == tmp_path / "recipe/data/bpe.model"  # a default
    here = tmp_path / "elsewhere"
    assert data.noise == here / "n.gz"
    assert data.valid == (here / "my cuts/v.gz", here / "w.gz")
    test = load_config(path, ["--data.test", "clean=c.gz,babble=b.gz"]).data.test
    assert test == {"clean": here / "c.gz", "babble": here / "b.gz"}


def test_preset_is_the_base_that_other_keys_change(recipe: Recipe) -> None:
    path = recipe('[encoder]\npreset = "small"\ncausal = false\n[context]\nchunk = [-1]\n'
                  '[validation]\ncontexts = ["full"]\n')  # fmt: skip
    assert load_config(path).encoder == ZipformerConfig.small(causal=False)
    assert load_config(path, ["--preset", "large"]).encoder == ZipformerConfig.large(causal=False)
    assert load_config(None, ["--encoder.preset", "small"]).encoder == ZipformerConfig.small()


@pytest.mark.parametrize(
    "text,message",
    [
        ("[data]\nmax_durations = 5.0", "unknown key 'max_durations'.*max_duration"),
        ("max_duration = 5.0", "unknown key 'max_duration'.*data.max_duration"),
        ("[datas]\nseed = 5", "unknown key 'datas'.*data"),
        ("[data.spec_augment]\ntime_wrap = 5", "spec_augment.*'time_wrap'.*time_warp"),
        ('[data]\nmax_duration = "5"', "max_duration must be number, got '5'"),
        ("[data]\nmax_duration = nan", "max_duration must be number"),
        ("[data]\nmax_duration = true", "max_duration must be number"),
        ("[train]\nseed = 1.0", "seed must be integer"),
        ("[train]\nseed = true", "seed must be integer"),
        ("[train]\ntensorboard = 1", "tensorboard must be true|false"),
        ("[train]\nexp_dir = 3", "exp_dir must be path"),
        ("[context]\nchunk = 32", "chunk must be a list"),
        ("[context]\nchunk = [32, '64']", "chunk must be integer"),
        ("[data]\nnoise_snr = [1, 2, 3]", "noise_snr must be a list of 2"),
        ("[context]\npolicy = 'unifrom'", "policy.*uniform, continuous, curriculum"),
        ("[encoder]\npreset = 'huge'", "preset.*small, medium, large"),
        ("data = 3", "data must be a table"),
        ("[data]\ntest = ['a']", "test must be a table"),
        ("[loss]\nctc_scale = 0.5", "needs model.ctc = true"),
        ("[context]\nchunk = [40]", "in every combination: context .*32 or 48"),
        ("[data", "run.toml"),
    ],
)
def test_mistakes_in_a_toml_are_named(recipe: Recipe, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(recipe(text))


def test_missing_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere.toml"):
        load_config(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "words,message",
    [
        (["--max-durations", "5"], "unknown key.*data.max_duration"),
        (["--right-mode", "masked"], "ambiguous.*--context.right-mode.*--validation.right-mode"),
        (["--train.nmu-epochs", "5"], "unknown key.*num_epochs"),
        (["--seed", "five"], "--seed must be integer"),
        (["--seed", "1.5"], "--seed must be integer"),
        (["--tensorboard", "maybe"], "--tensorboard must be true"),
        (["--seed"], "--seed needs a value"),
        (["--seed", "1", "2"], "--seed takes one value"),
        (["seed", "1"], "'seed'.*--key value"),
        (["--data.test", "a.gz"], "name=value"),
        (["--policy", "random"], "uniform, continuous, curriculum"),
        (["--context.chunk", "32,x"], "--context.chunk must be integer"),
    ],
)
def test_mistakes_on_the_command_line_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(None, words)


def test_dict_goes_through_a_checkpoint_that_runs_no_code(tmp_path: Path) -> None:
    config = load_config(None, ["--data.test", "a=b", "--preset", "small"])
    torch.save(to_dict(config), tmp_path / "c.pt")
    assert from_dict(torch.load(tmp_path / "c.pt", weights_only=True)) == config


def test_dict_keeps_relative_paths_as_they_are() -> None:
    assert from_dict(to_dict(RunConfig())) == RunConfig()


# What may stand in a name: anything but surrogates, which no file can hold.
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
paths = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(
    lambda name: Path("/data").joinpath(name.replace("/", "_").replace("~", "_")).resolve()
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=100)
@given(
    train=st.lists(paths, max_size=3).map(tuple),
    test=st.dictionaries(names, paths, max_size=3),
    noise=st.none() | paths,
    lr=finite,
    snr=st.tuples(finite, finite),
    seed=st.integers(-(2**60), 2**60),
    contexts=st.sampled_from([("full",), ("full", "32/256/0"), ()]),
)
def test_toml_and_dict_lead_back_to_the_config(
    tmp_path_factory: pytest.TempPathFactory,
    train: tuple[Path, ...],
    test: dict[str, Path],
    noise: Path | None,
    lr: float,
    snr: tuple[float, float],
    seed: int,
    contexts: tuple[str, ...],
) -> None:
    base = load_config(None, ["--preset", "small"])
    config = replace(
        base,
        data=replace(base.data, train=train, test=test, noise=noise, noise_snr=snr),
        optim=replace(base.optim, base_lr=lr),
        train=replace(base.train, seed=seed),
        validation=replace(base.validation, contexts=contexts),
    )
    assert from_dict(to_dict(config)) == config
    path = tmp_path_factory.mktemp("toml") / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert load_config(path) == config


def test_toml_holds_every_key() -> None:
    def keys(cls: Any) -> dict[str, Any]:
        return {
            f.name: keys(value) if is_dataclass(value) else None
            for f in fields(cls)
            for value in [getattr(cls, f.name)]
        }

    def written(table: dict[str, Any]) -> dict[str, Any]:
        return {k: written(v) if isinstance(v, dict) and v else None for k, v in table.items()}

    assert written(tomllib.loads(to_toml(RunConfig()))) == keys(RunConfig())


def test_print_config_prints_what_reads_back_and_ends(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe("[train]\nseed = 5\n")
    with pytest.raises(SystemExit) as ended:
        parse_args([str(path), "--print-config", "--max-duration", "77"], "Trains.")
    assert ended.value.code in (0, None)
    again = tmp_path / "printed.toml"
    again.write_text(capsys.readouterr().out, encoding="utf-8")
    config = load_config(again)
    assert config == load_config(path, ["--max-duration", "77"])
    assert (config.train.seed, config.data.max_duration) == (5, 77.0)


def test_help_lists_keys_with_types_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_args(["--help"], "Trains.")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "Trains." in text
    assert "--data.max-duration  number [200.0]" in text
    assert "--context.policy  uniform|continuous|curriculum" in text
    assert "--encoder.preset  small|medium|large" in text


def test_mistake_ends_the_program_with_a_message(
    recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_args([str(recipe("")), "--max-durations", "5"], "Trains.")
    assert ended.value.code == 2
    assert "max_duration" in capsys.readouterr().err


def test_arguments_after_the_toml_make_the_config(recipe: Recipe) -> None:
    config = parse_args([str(recipe("")), "--context.chunk", "32", "64", "-1", "--seed", "3"], "")
    assert config.context.chunk == (32, 64, -1)
    assert config.train.seed == 3
