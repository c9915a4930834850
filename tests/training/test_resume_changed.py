"""What a run refuses or warns of when it goes on with something that has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from training.tiny_task import TinyTask, tiny_config

from zipformer.checkpoint import files as checkpoint
from zipformer.config import OptimConfig
from zipformer.nn.baselines.config import ConformerConfig
from zipformer.training.loop import fit


def test_changed_setting_is_warned_of_on_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    config = replace(tiny_config(tmp_path), optim=OptimConfig(base_lr=0.01))
    fit(config, TinyTask())
    assert "optim.base_lr: 0.045 -> 0.01" in caplog.text
    assert "max_steps:" not in caplog.text


def test_changed_architecture_is_refused_on_resume(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    config = tiny_config(tmp_path)
    changed = replace(config, encoder=replace(config.encoder, pos_dim=24))
    with pytest.raises(ValueError, match="another architecture: encoder.pos_dim: 48 -> 24"):
        fit(changed, TinyTask())
    changed = replace(config, model=replace(config.model, context_size=1))
    with pytest.raises(ValueError, match="another architecture: model.context_size: 2 -> 1"):
        fit(changed, TinyTask())


def test_another_kind_of_encoder_is_refused_on_resume(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    config = replace(tiny_config(tmp_path), encoder=ConformerConfig())
    with pytest.raises(ValueError, match="encoder.kind: zipformer -> conformer"):
        fit(config, TinyTask())


def test_keys_that_a_checkpoint_is_older_than_have_their_defaults_on_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    path = checkpoint.newest(tmp_path)
    assert path is not None
    content = checkpoint.load(path)
    for section, key in (
        ("model", "transducer"),
        ("model", "aed_dim"),
        ("loss", "aed_scale"),
        ("encoder", "kind"),
        ("optim", "warmup_start"),
    ):
        del content["config"][section][key]
    checkpoint.save(path, content)
    fit(tiny_config(tmp_path, max_steps=3), TinyTask())
    assert "going on from" in caplog.text and "config has changed" not in caplog.text
    config = tiny_config(tmp_path)
    config = replace(config, model=replace(config.model, aed_dim=256))
    with pytest.raises(ValueError, match="another architecture: model.aed_dim: 512 -> 256"):
        fit(config, TinyTask())


def test_checkpoint_of_another_shape_is_refused_on_resume(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    with pytest.raises(ValueError, match=r"first.weight: \(8, 4\) in the checkpoint, \(6, 4\) in"):
        fit(tiny_config(tmp_path), TinyTask(dim=6))


def test_changed_file_of_the_model_is_refused_on_resume(tmp_path: Path) -> None:
    source = tmp_path / "tokens.txt"
    source.write_text("a b c")
    exp_dir = tmp_path / "exp"
    fit(tiny_config(exp_dir, max_steps=2), TinyTask(extra_files={"tokens.txt": source}))
    assert (exp_dir / "tokens.txt").read_text() == "a b c"
    source.write_text("b a c")
    with pytest.raises(ValueError, match="tokens.txt has changed"):
        fit(tiny_config(exp_dir), TinyTask(extra_files={"tokens.txt": source}))
    assert (exp_dir / "tokens.txt").read_text() == "a b c"
