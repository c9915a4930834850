"""The configs of the LibriSpeech recipe are those that were published, and fit one another."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import torch

from zipformer.checkpoint.files import save, sha256
from zipformer.checkpoint.initialise import initialise
from zipformer.config import RunConfig
from zipformer.config.command_line import load_config
from zipformer.config.keys import flatten, is_under
from zipformer.config.toml import to_dict
from zipformer.context import Context, parse_contexts
from zipformer.model import AsrModel
from zipformer.tokens import open_tokenizer

RECIPE = Path(__file__).parents[2] / "recipes" / "librispeech"
DIGITS_BPE = Path(__file__).parents[1] / "assets" / "digits" / "bpe.model"
CONFIGS = sorted(RECIPE.glob("*.toml"))
SIZES = {"small": "S", "medium": "M", "large": "L"}
KINDS = {"": "unified", "_causal": "causal", "_offline": "offline"}
FULL = [f"{size}{kind}" for size in SIZES for kind in KINDS]
MINI = ["mini", "mini_small"]
FINE = ["finetune", "finetune_released"]
METHODS = ["sampled", "dual", "distill", "consistency", "multi_decoder", "cr_ctc"]
# Parameters of the published layers that no forward pass reads; ours have no such thing.
DEAD = {"S": 2944, "M": 5760, "L": 9344}


def config(name: str, *words: str) -> RunConfig:
    return load_config(RECIPE / f"{name}.toml", words)


def model(run: RunConfig) -> AsrModel:
    with torch.device("meta"):
        return AsrModel.of(run, 500)


def num_parameters(name: str) -> int:
    return sum(p.numel() for p in model(config(name)).parameters())


def test_every_config_of_the_recipe_is_tested() -> None:
    assert [path.stem for path in CONFIGS] == sorted([*FULL, *METHODS, *FINE, *MINI])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_section_is_written_out(path: Path) -> None:
    written = tomllib.loads(path.read_text())
    assert set(written) == set(to_dict(RunConfig()))
    assert set(written["data"]) > {"train", "valid", "test", "bpe_model", "max_duration"}
    assert {"base_lr", "lr_batches", "lr_epochs", "warmup_batches"} <= set(written["optim"])
    assert {"chunk", "left", "right", "policy", "right_mode"} <= set(written["context"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_paths_are_those_that_prepare_writes(path: Path) -> None:
    run = load_config(path)
    trained_on = [corpus.path for corpus in run.data.corpora]
    manifests = [*trained_on, *run.data.valid, *run.data.test.values()]
    for manifest in manifests:
        assert manifest.parent == RECIPE / "data" / "fbank"
        assert manifest.name.startswith("librispeech_cuts_")
        assert manifest.name.endswith(".jsonl.gz")
    parts = {m.name.removeprefix("librispeech_cuts_").split(".")[0] for m in manifests}
    if path.stem in MINI:
        assert parts == {"mini-train", "mini-valid", "mini-test", "test-other"}
        assert run.data.noise is None
    else:
        trained_on = {"train-clean-100", "train-clean-360", "train-other-500"}
        assert parts == trained_on | {"dev-clean", "dev-other", "test-clean", "test-other"}
        assert run.data.noise == RECIPE / "data" / "fbank" / "musan_cuts.jsonl.gz"
    assert run.data.bpe_model == RECIPE / "data" / "lang_bpe_500" / "bpe.model"
    assert run.train.exp_dir == RECIPE.parents[1] / "exp" / "librispeech" / path.stem


@pytest.mark.parametrize("name", [*FULL, *METHODS, *FINE])
def test_musan_can_be_left_out(name: str) -> None:
    assert config(name, "--noise", "none").data.noise is None


@pytest.mark.parametrize("name", FULL)
def test_parameter_counts_are_the_published_ones(name: str, golden: Path) -> None:
    size, kind = SIZES[name.split("_")[0]], name.partition("_")[2]
    key = f"{size}-{'noncausal' if kind == 'offline' else 'causal'}"
    published = json.loads((golden / "param_counts.json").read_text())[key]["transducer_total"]
    assert num_parameters(name) == published - DEAD[size]


@pytest.mark.parametrize("name", FULL)
def test_hyperparameters_are_the_published_ones(name: str) -> None:
    run, small = config(name), name.startswith("small")
    optim, loss, data = run.optim, run.loss, run.data
    assert optim.base_lr == (0.04 if small else 0.045)
    assert (optim.lr_batches, optim.lr_epochs, optim.clipping_scale) == (7500, 3.5, 2.0)
    assert (optim.warmup_batches, optim.warmup_start) == (500, 0.1)
    assert (loss.prune_range, loss.lm_scale, loss.am_scale) == (5, 0.25, 0.0)
    assert (loss.simple_scale, loss.warm_steps, loss.ctc_scale) == (0.5, 2000, 0.0)
    assert (run.model.predictor_dim, run.model.joiner_dim) == (512, 512)
    assert (run.model.context_size, run.model.ctc) == (2, False)
    assert run.schedule.ref_seconds == 600
    assert data.max_duration == (1500 if small else 1000)
    assert (data.num_buckets, data.min_seconds, data.max_seconds) == (30, 1, 20)
    assert (data.noise_prob, data.noise_snr) == (0.5, (10, 20))
    augment = data.spec_augment
    assert (augment.prob, augment.time_warp, augment.max_time_share) == (0.9, 80, 0.15)
    assert (augment.freq_masks, augment.max_freq_width) == (2, 27)
    assert (augment.time_masks, augment.max_time_width) == (10, 100)
    assert (run.train.average_every, run.train.num_epochs) == (
        200,
        50 if name.endswith("offline") else 40,
    )


@pytest.mark.parametrize("name", [*FULL, *FINE, *MINI])
def test_the_menu_of_contexts_is_that_of_its_kind(name: str) -> None:
    run, kind = config(name), name.partition("_")[2]
    menu = run.context
    if kind == "offline":
        assert not run.encoder.causal
        assert (menu.chunk, menu.left, menu.right) == ((-1,), (-1,), (0,))
    else:
        assert run.encoder.causal
        assert menu.chunk == (32, 64, 128, -1)
        assert menu.left == (128, 256, 512, -1)
        assert menu.right == ((0,) if kind == "causal" else (0, 64, 128, 256))


@pytest.mark.parametrize("name", [*FULL, *FINE, *MINI])
def test_validation_looks_at_contexts_that_are_trained(name: str) -> None:
    run = config(name)
    contexts = parse_contexts(run.validation.contexts)
    assert contexts[0] == Context.full()
    assert run.validation.right_mode == "windowed"  # what a stream computes
    for context in contexts[1:]:
        assert context.chunk in run.context.chunk
        assert context.left in run.context.left
        assert context.right in run.context.right
    if run.encoder.causal:
        assert Context(32, 256, 0) in contexts  # the lowest latency
    if max(run.context.right) > 0:
        assert any(context.right > 0 for context in contexts)


def changed(a: str, b: str) -> set[str]:
    """Keys that differ between two configs."""
    one, other = (flatten(to_dict(config(name))) for name in (a, b))
    return {key for key in one | other if one.get(key) != other.get(key)}


@pytest.mark.parametrize("size", SIZES)
def test_models_of_one_size_differ_in_context_alone(size: str) -> None:
    assert changed(size, f"{size}_causal") == {
        *("context.right", "validation.contexts", "train.exp_dir"),
    }
    assert changed(size, f"{size}_offline") == {
        *("encoder.causal", "context.chunk", "context.left", "context.right"),
        *("validation.contexts", "train.exp_dir", "train.num_epochs"),
    }


def test_fine_tuning_starts_from_a_causal_model_and_hardly_lowers_its_rate() -> None:
    run = config("finetune")
    start = config("medium_causal")
    assert run.train.init_from == start.train.exp_dir
    assert (run.encoder, run.model) == (start.encoder, start.model)
    assert run.context == config("medium").context
    assert (run.optim.base_lr, run.optim.lr_epochs) == (0.0045, 100)
    assert run.optim.lr_batches == 100_000
    assert changed("finetune", "finetune_released") == {
        *("model.ctc", "loss.ctc_scale", "train.exp_dir", "train.init_from"),
    }
    assert changed("medium", "finetune") == {
        *("optim.base_lr", "optim.lr_batches", "optim.lr_epochs", "schedule.ref_seconds"),
        *("train.exp_dir", "train.init_from", "train.num_epochs"),
    }


TINY = {"dims": 32, "unmasked-dims": 32, "feedforward-dims": 48, "num-layers": 1}  # per stack
SHRINK = [w for key, size in TINY.items() for w in (f"--{key}", ",".join([str(size)] * 6))]
SHRINK += ["--frontend-channels", "4,4,8"]


def test_fine_tuning_takes_a_causal_checkpoint_whole(tmp_path: Path) -> None:
    shutil.copyfile(DIGITS_BPE, tmp_path / "bpe.model")
    tokenizer = open_tokenizer(tmp_path / "bpe.model")
    causal = config("medium_causal", *SHRINK)
    start = AsrModel(causal.encoder, tokenizer.vocab_size, causal.model)
    content = {
        "model": start.state_dict(),
        "average": {"count": 1, "total": {n: v.double() for n, v in start.state_dict().items()}},
        "config": to_dict(causal),
        "files": {"bpe.model": sha256(tmp_path / "bpe.model")},
        "state": {"step": 9, "audio_seconds": 90.0},
    }
    save(tmp_path / "epoch-1.pt", content)
    run = config("finetune", "--init-from", str(tmp_path), *SHRINK)
    assert run.train.init_from == tmp_path
    model = AsrModel(run.encoder, tokenizer.vocab_size, run.model)
    report = initialise(model, run.train.init_from, tokenizer)
    assert set(report.loaded) == set(start.state_dict())
    assert all(torch.equal(v, start.state_dict()[n]) for n, v in model.state_dict().items())


def test_the_mini_set_has_a_model_for_a_laptop_and_one_for_a_gpu() -> None:
    assert num_parameters("mini") < 5e6
    small, mini = config("mini_small"), config("mini")
    assert small.encoder.dims == config("small").encoder.dims
    assert (small.data.train, small.data.test) == (mini.data.train, mini.data.test)
    for run in (small, mini):
        assert run.schedule.ref_seconds < 60  # a clock for hours of audio, not for thousands
        assert run.optim.warmup_batches < 500


def test_the_readme_says_what_the_configs_are() -> None:
    text = (RECIPE / "README.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\.toml\].*\| ([\d.]+) M \| \d x (\d+) \| (\d+) \|$", text, re.M)
    assert sorted(row[0] for row in rows) == [path.stem for path in CONFIGS]
    for name, millions, seconds, epochs in rows:
        run = config(name)
        assert f"{num_parameters(name) / 1e6:.2f}" == millions, name
        assert (run.data.max_duration, run.train.num_epochs) == (int(seconds), int(epochs)), name


def test_the_presets_in_the_readme_are_those_of_the_configs() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (RECIPE / "README.md").read_text(), re.DOTALL)
    for block, name in zip(blocks, ("mini_small", "finetune"), strict=True):
        run = to_dict(config(name))
        for section, values in tomllib.loads(block).items():
            assert values.items() <= run[section].items(), (name, section)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_differs_from_medium_in_what_it_needs(name: str) -> None:
    allowed = {"method", "context.chunk", "train.exp_dir", "train.accumulate", "data.max_duration"}
    if name in ("cr_ctc", "multi_decoder"):
        allowed |= {"model", "loss"}
    if name == "cr_ctc":
        allowed |= {"data.spec_augment"}
    here, base = (flatten(to_dict(config(n))) for n in (name, "medium"))
    different = {key for key in here if here[key] != base[key]}
    assert "method.kind" in different
    assert {key for key in different if not is_under(key, tuple(allowed))} == set()
    run = config(name)
    assert run.data.max_duration * run.train.accumulate == 1000  # audio of a step and process
