"""Models of the hub, from a server on this machine: what is fetched, cached and said."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from released.hub_server import COMMIT, Hub
from released.official import OFFICIAL

from zipformer.released.hub import HubModel

pytest.importorskip("huggingface_hub")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    released, empty = folder / "released", folder / "empty"
    (released / "exp").mkdir(parents=True)
    (released / "data" / "lang_bpe_37").mkdir(parents=True)
    empty.mkdir()
    shutil.copyfile(OFFICIAL / "streaming" / "model.pt", released / "exp" / "pretrained.pt")
    tokens = released / "data" / "lang_bpe_37" / "tokens.txt"
    shutil.copyfile(OFFICIAL / "streaming" / "tokens.txt", tokens)
    (released / "exp" / "jit_script.pt").write_bytes(b"not wanted" * 1000)
    (released / "README.md").write_text("not wanted")
    (empty / "README.md").write_text("a page")
    models = {"someone/zipformer": released, "someone/empty": empty}
    with Hub(models, gated=("someone/gated",)).running() as server:
        yield server


def adopt(
    source: str, out: Path, hub: Hub, home: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """The verb in a process of its own: the package reads its environment when it is imported."""
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **more}
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "adopt.py", source, "--out", out],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_only_what_is_needed_is_fetched_and_then_kept(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = adopt("hf:someone/zipformer", tmp_path / "a", hub, home)
    assert done.returncode == 0, done.stderr
    assert sorted(hub.served) == ["data/lang_bpe_37/tokens.txt", "exp/pretrained.pt"]
    assert "causal, streams" in done.stdout and "37, of tokens.txt" in done.stdout
    again = adopt("hf:someone/zipformer@" + COMMIT, tmp_path / "b", hub, home)
    assert again.returncode == 0, again.stderr
    away = adopt("hf:someone/zipformer", tmp_path / "c", hub, home, HF_HUB_OFFLINE="1")
    assert away.returncode == 0, away.stderr
    gone = adopt(
        "hf:someone/zipformer", tmp_path / "d", hub, home, HF_ENDPOINT="http://127.0.0.1:9"
    )
    assert gone.returncode == 0, gone.stderr
    assert len(hub.served) == 2


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        ("hf:someone/nobody", {}, "there is no such model on the hub, or it is private"),
        ("hf:someone/gated", {}, "asks for a login"),
        ("hf:someone/empty", {}, "there are no weights: .*it has README.md"),
        ("hf:someone/zipformer@v9", {}, "there is no such revision of someone/zipformer"),
        ("hf:zipformer", {}, "write hf:OWNER/NAME"),
        ("hf:someone/other", {"HF_HUB_OFFLINE": "1"}, "there is no copy of this model"),
        ("hf:someone/other", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "hub cannot be reached"),
        ("someone/zipformer", {}, "does not exist; .*hf:someone/zipformer"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line(
    hub: Hub, tmp_path: Path, source: str, more: dict[str, str], message: str
) -> None:
    done = adopt(source, tmp_path / "exp", hub, tmp_path / "home", **more)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "exp").exists()


def test_names_are_written_as_on_the_hub() -> None:
    assert HubModel.parse("hf:a/b@main") == HubModel("a/b", "main")
    assert str(HubModel("a/b")) == "hf:a/b"
