"""``encoder.kind`` in a config: which encoder it builds, which keys belong to it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from nn.small_encoder import ABLATIONS, BASELINES, KINDS
from published_names import published_name

from zipformer import Context, Encoder, Transducer, load_icefall
from zipformer.config import RunConfig
from zipformer.config.command_line import load_config, parse_args
from zipformer.config.reading import from_dict
from zipformer.config.toml import to_dict, to_toml
from zipformer.export.models import export_offline, export_streaming
from zipformer.model import build_encoder
from zipformer.nn.baselines.config import ConformerConfig, ContextNetConfig
from zipformer.nn.encoder_config import EncoderConfig

TOKENS = [str(i) for i in range(11)]


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_goes_through_toml_and_checkpoint(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, to_toml(RunConfig(encoder=KINDS[kind])))
    config = load_config(path)
    assert config.encoder == KINDS[kind]
    assert from_dict(to_dict(config)) == config
    assert build_encoder(config.encoder).config == KINDS[kind]


def test_a_stored_config_without_kind_is_a_zipformer() -> None:
    stored = to_dict(RunConfig(encoder=KINDS["zipformer"]))  # type: ignore[arg-type]
    del stored["encoder"]["kind"]
    assert from_dict(stored).encoder == KINDS["zipformer"]


@pytest.mark.parametrize("preset", ["small", "medium", "large"])
@pytest.mark.parametrize("kind", KINDS)
def test_presets_of_every_kind(kind: str, preset: str, tmp_path: Path) -> None:
    path = write(tmp_path, f'[encoder]\npreset = "{preset}"\nkind = "{kind}"\nfeature_std = 2.0')
    config = load_config(path).encoder
    assert config == getattr(type(KINDS[kind]), preset)(feature_std=2.0)
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in build_encoder(getattr(type(KINDS[kind]), name)()).parameters())
            for name in ("small", "medium", "large")
        ]
    assert sizes == sorted(set(sizes))


def test_the_command_line_chooses_a_kind_and_its_keys(tmp_path: Path) -> None:
    words = ["--num-layers", "3", "--encoder.kind", "conformer", "--dual-norm", "true"]
    assert load_config(None, words).encoder == ConformerConfig(num_layers=3, dual_norm=True)
    words = ["--channels", "16,24", "--encoder.kind=contextnet"]
    path = write(tmp_path, "[encoder]\nkernel = 3\nkind = 'conformer'\n")
    assert load_config(path, words).encoder == ContextNetConfig(channels=(16, 24), kernel=3)


MISTAKES = {
    "unknown kind": (
        "[encoder]\nkind = 'lstm'",
        "'lstm' is none of zipformer, conformer, transformer, contextnet",
    ),
    "kind of no text": ("[encoder]\nkind = [1]", "is none of zipformer, conformer"),
    "key of another kind": (
        "[encoder]\nkind = 'conformer'\ndims = [4]",
        "unknown key 'dims': kind 'conformer' has no such key, kind 'zipformer' has",
    ),
    "key of two others": (
        "[encoder]\ndual_norm = true",
        "kind 'zipformer' has no such key, kind 'conformer' or 'transformer' or 'contextnet' has",
    ),
    "key of none": ("[encoder]\nkind = 'conformer'\nkernels = [4]", "unknown key 'kernels'"),
    "misspelt": ("[encoder]\nkind = 'conformer'\nkernal = 4", "did you mean kernel?"),
    "type": ("[encoder]\nkind = 'conformer'\nnum_layers = [4]", "num_layers must be integer"),
    "heads": ("[encoder]\nkind = 'conformer'\nnum_heads = 3", "multiple of encoder.num_heads 3"),
    "kernel": ("[encoder]\nkind = 'contextnet'\nkernel = 4", "encoder.kernel must be odd"),
    "blocks": ("[encoder]\nkind = 'contextnet'\nchannels = [64]", "two blocks or more"),
    "squeeze": ("[encoder]\nkind = 'contextnet'\nsqueeze = 1000", "encoder.squeeze 1000"),
    "dropout": ("[encoder]\nkind = 'transformer'\ndropout = 1.0", "encoder.dropout"),
    "positions": ("[encoder]\nkind = 'transformer'\npos_dim = 7", "encoder.pos_dim must be even"),
    "context": (
        "[encoder]\nkind = 'conformer'\n[context]\nchunk = [30]\nleft = [-1]",
        "in every combination: context .*nearest allowed: 28 or 32",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str, tmp_path: Path) -> None:
    text, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        load_config(write(tmp_path, text))


def test_mistakes_on_the_command_line_are_named() -> None:
    with pytest.raises(ValueError, match="'lstm' is none of zipformer, conformer"):
        load_config(None, ["--encoder.kind", "lstm"])
    with pytest.raises(ValueError, match="--downsampling: unknown key"):
        load_config(None, ["--encoder.kind", "conformer", "--downsampling", "1,2"])


def test_help_lists_the_keys_of_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_args(["--help"])
    text = capsys.readouterr().out
    assert "--encoder.kind  zipformer|conformer|transformer|contextnet" in text
    for kind in BASELINES:
        part = text.split(f"with --encoder.kind {kind}:")[1].split("keys of encoder")[0]
        for field in fields(KINDS[kind]):
            assert f"  --encoder.{field.name.replace('_', '-')}  " in part


# What only a Zipformer can


def transducer(encoder: EncoderConfig) -> Transducer:
    return Transducer(encoder, len(TOKENS), predictor_dim=16, joiner_dim=16)


@pytest.mark.parametrize("kind", BASELINES)
def test_published_parameters_are_those_of_a_zipformer(kind: str) -> None:
    config = KINDS["zipformer"]
    state = Encoder(config).state_dict()  # type: ignore[arg-type]
    published = {
        published_name(f"encoder.{n}", config): v  # type: ignore[arg-type]
        for n, v in state.items()
    }
    for module in (build_encoder(KINDS[kind]), transducer(KINDS[kind])):
        with pytest.raises(ValueError, match=f"is a {kind}: set encoder.kind = 'zipformer'"):
            load_icefall(published, module)


@pytest.mark.parametrize("kind", BASELINES)
def test_exports_to_sherpa_are_of_zipformers(kind: str, tmp_path: Path) -> None:
    model = transducer(KINDS[kind])
    with pytest.raises(ValueError, match=f"encoder.kind is '{kind}'.*--format checkpoint"):
        export_streaming(model, TOKENS, Context(32, 128, 64), tmp_path)
    with pytest.raises(ValueError, match=f"encoder.kind is '{kind}'.*--format checkpoint"):
        export_offline(model, TOKENS, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["no_downsampling", "conformer_blocks", "no_nonlin", "no_sharing"])
def test_ablations_with_other_states_do_not_stream_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="those with encoder.*export_offline works"):
        export_streaming(transducer(ABLATIONS[name]), TOKENS, Context(32, 128, 64), tmp_path)
