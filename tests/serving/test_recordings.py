"""What lies beside a model is found, and only that can be fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zipformer import Context
from zipformer.serving.pages import PAGE, Health, Pages
from zipformer.serving.recordings import Recordings

HEALTH = Health(0, 0, 0.0, ("32/256/64", "full"), (1090, None), 16000)
CONTEXTS = [Context(32, 256, 64), Context.full()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b c.flac").write_bytes(b"sound of b")
    (tmp_path / "a.WAV").write_bytes(b"sound of a")
    (tmp_path / "a.txt").write_text("what is\n said\n", encoding="utf-8")
    (tmp_path / "about.txt").write_text("ten\nwords\n", encoding="utf-8")
    (tmp_path / "notes.md").write_text("secret")
    return tmp_path


def test_sounds_have_their_texts(folder: Path) -> None:
    found = Recordings.of(folder)
    assert [(one.path.name, one.text) for one in found.files] == [
        ("a.WAV", "what is said"),
        ("b c.flac", ""),
    ]
    assert found.about == "ten words"
    assert Recordings.of(folder / "nothing") == Recordings()
    (folder / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8"):
        Recordings.of(folder)


def test_the_page_is_told_of_model_contexts_and_recordings(folder: Path) -> None:
    answer = Pages("epoch 7", Recordings.of(folder)).answer("/about?x=1", HEALTH, CONTEXTS)
    about = json.loads(answer.body)
    assert (about["model"], about["text"]) == ("epoch 7", "ten words")
    assert about["contexts"][0] == {
        **{"name": "32/256/64", "full": False, "latency_ms": 1090},
        **{"chunk": 32, "left": 256, "right": 64},
    }
    assert about["contexts"][1]["full"] and about["contexts"][1]["latency_ms"] is None
    urls = [one["url"] for one in about["recordings"]]
    assert urls == ["recordings/a.WAV", "recordings/b%20c.flac"]


def test_what_the_page_asks_for_is_there_and_nothing_else(folder: Path) -> None:
    pages = Pages("m", Recordings.of(folder))

    def get(path: str) -> tuple[int, str, bytes]:
        answer = pages.answer(path, HEALTH, CONTEXTS)
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return answer.status_code, answer.headers["Content-Type"], bytes(answer.body)

    assert get("/recordings/b%20c.flac") == (200, "audio/flac", b"sound of b")
    for file in PAGE.iterdir():
        assert get(f"/page/{file.name}")[0] == 200
    assert get("/")[1] == "text/html; charset=utf-8"
    assert get("/page/main.js")[1].startswith("text/javascript")
    for path in ("/recordings/notes.md", "/recordings/../notes.md", "/page/../pages.py"):
        assert get(path)[0] == 404
    for path in ("/page/%2e%2e%2fpages.py", "/recordings/%2e%2e%2fa.WAV", "/nothing", "//", ""):
        assert get(path)[0] == 404
