"""Models of the hub, from a server on this machine: what is fetched, cached and said."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from released.graphs import GRAPHS
from released.hub_server import COMMIT, Hub
from released.official import OFFICIAL

from zipformer.released.hub import HubModel

pytest.importorskip("huggingface_hub")


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
    graphs = shutil.copytree(GRAPHS, folder / "graphs")
    (graphs / "encoder.int8.onnx").write_bytes(b"not wanted")
    models = {"someone/zipformer": released, "someone/empty": empty, "someone/graphs": graphs}
    with Hub(models, gated=("someone/gated",)).running() as server:
        yield server


def adopt_each(
    sources: dict[str, Path], hub: Hub, home: Path, **more: str
) -> list[tuple[int, str, str]]:
    """The verb for one source after the other: exit status, output and error of each.

    In a process of its own, as the package reads its environment when it is imported.
    """
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **more}
    pairs = [word for source, out in sources.items() for word in (source, str(out))]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("adopt_each.py"), *pairs],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    results: list[tuple[int, str, str]] = [tuple(result) for result in json.loads(done.stdout)]
    return results


def test_only_what_is_needed_is_fetched_and_then_kept(hub: Hub, tmp_path: Path) -> None:
    home, name = tmp_path / "home", "hf:someone/zipformer"
    first = {name: tmp_path / "a", f"{name}@{COMMIT}": tmp_path / "b"}
    results = adopt_each(first, hub, home)
    assert [status for status, _, _ in results] == [0, 0], results
    assert "causal, streams" in results[0][1] and "37, of tokens.txt" in results[0][1]
    assert sorted(hub.served) == ["data/lang_bpe_37/tokens.txt", "exp/pretrained.pt"]
    ((away, _, error),) = adopt_each({name: tmp_path / "c"}, hub, home, HF_HUB_OFFLINE="1")
    assert away == 0, error
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    ((gone, _, error),) = adopt_each({name: tmp_path / "d"}, hub, home, **nowhere)
    assert gone == 0, error
    assert len(hub.served) == 2


REFUSED = {
    "hf:someone/nobody": "there is no such model on the hub, or it is private",
    "hf:someone/gated": "asks for a login",
    "hf:someone/empty": "there are no weights: .*it has README.md",
    "hf:someone/zipformer@v9": "there is no such revision of someone/zipformer",
    "hf:zipformer": "write hf:OWNER/NAME",
    "someone/zipformer": "does not exist; .*hf:someone/zipformer",
}


@pytest.mark.parametrize(
    ("messages", "more"),
    [
        (REFUSED, {}),
        ({"hf:someone/other": "there is no copy of this model"}, {"HF_HUB_OFFLINE": "1"}),
        ({"hf:someone/other": "hub cannot be reached"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line(
    hub: Hub, tmp_path: Path, messages: dict[str, str], more: dict[str, str]
) -> None:
    sources = {source: tmp_path / "exp" for source in messages}
    results = adopt_each(sources, hub, tmp_path / "home", **more)
    for (status, output, error), message in zip(results, messages.values(), strict=True):
        assert (status, output) == (1, "")
        assert re.search(f"^error: .*{message}", error) and "\n" not in error, error
    assert not (tmp_path / "exp").exists()


def test_graphs_are_fetched_all_three(hub: Hub, tmp_path: Path) -> None:
    hub.served.clear()
    ((status, output, error),) = adopt_each({"hf:someone/graphs": tmp_path / "a"}, hub, tmp_path)
    assert status == 0, error
    assert "graph and weights agree" in output
    assert sorted(hub.served) == ["decoder.onnx", "encoder.onnx", "joiner.onnx", "tokens.txt"]


def test_names_are_written_as_on_the_hub() -> None:
    assert HubModel.parse("hf:a/b@main") == HubModel("a/b", "main")
    assert str(HubModel("a/b")) == "hf:a/b"
