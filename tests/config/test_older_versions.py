"""Configs that other versions of the package wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zipformer import ZipformerConfig
from zipformer.checkpoint.fingerprint import FIRST_NAMES, settings_fingerprint
from zipformer.config import RunConfig
from zipformer.config.command_line import load_config
from zipformer.config.reading import RENAMED, from_dict
from zipformer.config.toml import to_dict, to_toml

PAIRS = RunConfig(encoder=ZipformerConfig(block="conformer_pair"))


def stored(block: str) -> dict[str, Any]:
    config = to_dict(RunConfig())
    config["encoder"]["block"] = block
    return config


def test_key_of_a_newer_version_is_named() -> None:
    config = to_dict(RunConfig())
    config["data"]["resample"] = True
    with pytest.raises(ValueError, match="the stored config: data: unknown key 'resample'.*newer"):
        from_dict(config)


def test_keys_that_an_older_version_did_not_have_take_their_defaults() -> None:
    config = to_dict(RunConfig())
    del config["method"], config["data"]["noise"], config["encoder"]["block"]
    assert from_dict(config) == RunConfig()


def test_the_old_name_of_a_block_is_read_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text('[encoder]\nblock = "conformer"\n')
    assert load_config(path).encoder == PAIRS.encoder
    assert load_config(None, ["--block", "conformer"]).encoder == PAIRS.encoder
    assert from_dict(stored("conformer")) == PAIRS
    assert 'block = "conformer_pair"' in to_toml(load_config(path))


def test_the_old_name_is_one_of_that_key_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'conformer' is none of auto, cpu, cuda"):
        load_config(None, ["--device", "conformer"])
    with pytest.raises(ValueError, match="block: 'lstm' is none of zipformer, conformer_pair$"):
        from_dict(stored("lstm"))


def test_a_new_name_for_a_choice_is_no_other_method() -> None:
    assert settings_fingerprint(PAIRS) == "47688e9b687db80a"  # as it was under the old name
    renamed = {new: old for names in RENAMED.values() for old, new in names.items()}
    assert {new: old for names in FIRST_NAMES.values() for new, old in names.items()} == renamed
