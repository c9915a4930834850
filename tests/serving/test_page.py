"""The server's page in a real browser: its columns show what decoding gives, whatever is heard."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from browser import HERE, Tab, browser, need_browser
from lhotse import CutSet
from trained_digits import CHECKPOINT, trained

from zipformer import Context
from zipformer.context import FRONTEND_LOOKAHEAD
from zipformer.data.sound_files import read_audio
from zipformer.evaluation.live import decode_live
from zipformer.evaluation.transcribe import Transcriber
from zipformer.search.words import text_of
from zipformer.serving.limits import Limits
from zipformer.serving.offer import Offer
from zipformer.serving.pages import Pages
from zipformer.serving.recordings import Recording, Recordings
from zipformer.serving.running import serving
from zipformer.serving.server import Server
from zipformer.streaming import Recognizer, WholeRecognizer
from zipformer.tokens.scripts import words_and_characters

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CONTEXTS = [Context(32, 256), Context(32, 256, 64), Context(32, 256, 256), Context.full()]
SHOWN = Recordings.of(CHECKPOINT.parent / "recordings")
SPOKEN = SHOWN.files[1].path
COLUMNS = "[...document.querySelectorAll('.column')]"
HEARD = f"""Object.fromEntries({COLUMNS}.map(column => [column.dataset.context,
  [...column.querySelectorAll('.final')].map(word => word.firstChild.textContent).join(' ')]))"""
STATUS = "document.getElementById('status').textContent"


def recognizer(context: Context) -> Recognizer:
    return (WholeRecognizer if context.is_full else Recognizer).of(trained(), context)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps what it hears."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def server(kept: Path) -> Iterator[Server]:
    pages = Pages("digits", SHOWN)
    with serving(Offer(CONTEXTS, recognizer), pages=pages, keep_audio=kept) as running:
        yield running


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A page of a browser whose microphone plays a recording, once from when it is opened."""
    sound = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    soundfile.write(sound, *soundfile.read(SPOKEN))
    fake = "--use-fake-device-for-media-stream"
    with browser(
        need_browser(), HERE, fake, f"--use-file-for-fake-audio-capture={sound}%noloop"
    ) as opened:
        yield opened


def open_page(tab: Tab, server: Server, width: int = 1200, dark: bool = False) -> None:
    tab.open(server.uri.replace("ws", "http", 1), width, dark)
    tab.wait(f"{STATUS}.startsWith('Ready')")


def heard(tab: Tab) -> dict[str, str]:
    """The words of every column, by its context, once nothing more will come."""
    tab.wait(f"{STATUS}.endsWith('were heard.')")
    assert tab.value(f"{COLUMNS}.every(column => column.dataset.state === 'done')")
    return dict(tab.value(HEARD))


def decoded(path: Path) -> dict[str, str]:
    """What ``decode.py --stream`` hears in a file, and at full context ``transcribe.py``."""
    from lhotse import Recording as Sound

    cuts = CutSet.from_cuts([Sound.from_file(path).to_cut()])
    words = {}
    for context in CONTEXTS[:-1]:
        (one,) = decode_live(Recognizer.of(trained(), context), cuts)
        words[str(context)] = one.result.text
    whole = Transcriber(trained(), Context.full())
    return words | {"full": text_of(whole.words(read_audio(path)))}


def seconds(text: str) -> float:
    """The number of a text as in "1.25 s"."""
    return float(text.split()[0])


def permit(tab: Tab, setting: str) -> None:
    tab("Browser.setPermission", permission={"name": "microphone"}, setting=setting)


def test_a_shipped_recording_is_heard_as_decoding_hears_it(tab: Tab, server: Server) -> None:
    open_page(tab, server)
    tab.value("document.getElementById('paced').click()")
    for number, shipped in enumerate(SHOWN.files):
        tab.value(f"document.querySelectorAll('#recordings button')[{number}].click()")
        tab.wait(f"document.getElementById('reference').textContent === 'Said: {shipped.text}'")
        found = heard(tab)
        assert found == decoded(shipped.path) and found["full"] == shipped.text
    assert tab.value(f"{COLUMNS}.at(-1).innerText").endswith("errors 0.0 % (0 of 7)")
    assert tab.complaints == []
    assert all(url.startswith(server.uri.replace("ws", "http", 1)) for url in tab.requests)


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_dropped_file_is_heard_as_decoding_hears_it(
    tab: Tab, server: Server, tmp_path: Path, form: str
) -> None:
    path = tmp_path / f"mine.{form.lower()}"
    soundfile.write(path, *soundfile.read(SHOWN.files[0].path), format=form)
    open_page(tab, server)
    tab.value("document.getElementById('paced').click()")
    content = base64.b64encode(path.read_bytes()).decode()
    tab.value(
        f"""(() => {{
          const bytes = Uint8Array.from(atob('{content}'), c => c.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], '{path.name}'));
          document.body.dispatchEvent(new DragEvent('drop', {{ bubbles: true, dataTransfer }}));
        }})()"""
    )
    assert heard(tab) == decoded(path)
    assert tab.value("document.getElementById('reference').hidden")


def test_words_are_counted_as_the_scorer_counts_them(tab: Tab, server: Server) -> None:
    open_page(tab, server)
    texts = ["one  two", "你好 one吗", "Ａ 𠀀あカ 한국어", " "]
    for text in texts:
        split = f"words => words.split({json.dumps(text)})"
        found = tab.value(f"import('./page/words.js').then({split})")
        assert found == words_and_characters(unicodedata.normalize("NFKC", text))


def test_what_is_no_sound_is_said(tab: Tab, server: Server) -> None:
    open_page(tab, server)
    tab.value(
        """(() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(['not a sound'], 'notes.wav'));
          document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, dataTransfer }));
        })()"""
    )
    tab.wait(f"{STATUS}.includes('cannot read that file as sound')")


def test_what_came_from_the_microphone_is_what_the_columns_show(
    tab: Tab, server: Server, kept: Path
) -> None:
    permit(tab, "granted")
    open_page(tab, server)
    before = set(kept.iterdir())
    tab.value("document.getElementById('microphone').click()")
    said = SHOWN.files[1].text.split()  # a device that stutters may add a word: the last is awaited
    words = f"[...{COLUMNS}[0].querySelectorAll('.final')].map(w => w.firstChild.textContent)"
    tab.wait(f"{words}.length >= {len(said)} && {words}.at(-1) === '{said[-1]}'")
    tab.value("document.getElementById('stop').click()")
    found = heard(tab)
    spoken = seconds(str(tab.value(STATUS)))
    files = {path.stem.split("-", 3)[-1]: path for path in set(kept.iterdir()) - before}
    assert sorted(files) == ["32-256-0", "32-256-256", "32-256-64", "full"]
    for context in CONTEXTS:
        assert decoded(files[context.slug])[str(context)] == found[str(context)]
    assert found["full"] == SHOWN.files[1].text
    delays = tab.value(
        f"{COLUMNS}.map(c => Number(c.querySelector('small').textContent.split(' ')[0]))"
    )
    assert delays[0] < delays[1] < delays[2] <= delays[3], "of the first word"
    rows = tab.value(
        "[...document.querySelectorAll('#table tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert len(rows) == sum(len(words.split()) for words in found.values())
    columns = dict(zip(tab.value(f"{COLUMNS}.map(c => c.ariaLabel)"), CONTEXTS, strict=True))
    for column, _, end, _, final, *_ in rows:
        context = columns[column]
        if not context.is_full:  # no word is final before all that its step needs was spoken
            step = int((seconds(end) - 0.04) / (0.01 * context.chunk) + 1e-6) + 1
            needed = 0.01 * (step * context.chunk + context.right + FRONTEND_LOOKAHEAD)
            assert seconds(final) >= min(needed, spoken) - 0.01, (column, end, final)
    assert tab.complaints == []


def test_without_permission_it_says_what_to_do(tab: Tab, server: Server) -> None:
    permit(tab, "denied")
    open_page(tab, server)
    tab.value("document.getElementById('microphone').click()")
    tab.wait(f"{STATUS}.startsWith('The browser may not use the microphone: allow it')")
    tab.value("Object.defineProperty(navigator, 'mediaDevices', { value: undefined }); 0")
    tab.value("document.getElementById('microphone').click()")
    tab.wait(f"{STATUS}.includes('start the server with --tls-cert and --tls-key')")


def test_the_slider_chooses_the_context_of_a_column(tab: Tab, server: Server) -> None:
    open_page(tab, server)
    assert tab.value(f"{COLUMNS}[1].dataset.context") == "32/256/64"
    tab.value("document.getElementById('paced').click()")
    tab.value("document.querySelector('#recordings button').click()")
    found = heard(tab)
    tab.value("document.getElementById('right').focus()")
    for kind in ("rawKeyDown", "keyUp"):
        tab("Input.dispatchKeyEvent", type=kind, key="ArrowRight", windowsVirtualKeyCode=39)
    assert tab.value("document.getElementById('right-value').value").startswith("256 frames")
    tab.wait(f"{COLUMNS}[1].dataset.context === '32/256/256'")
    assert heard(tab) == {c: words for c, words in found.items() if c != "32/256/64"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_it_fits_and_everything_has_a_name(
    tab: Tab, server: Server, width: int, dark: bool
) -> None:
    open_page(tab, server, width, dark)
    assert tab.value("document.documentElement.scrollWidth") == width
    paper = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is not dark
    nodes = tab("Accessibility.getFullAXTree")["nodes"]
    used = [n for n in nodes if n["role"]["value"] in ("button", "checkbox", "slider", "article")]
    assert len(used) >= 12
    assert all(node["name"]["value"] for node in used), "nothing to read out"


def test_the_keyboard_is_enough(tab: Tab, server: Server) -> None:
    open_page(tab, server)
    reached = []
    for _ in range(8):
        for kind in ("rawKeyDown", "keyUp"):
            tab("Input.dispatchKeyEvent", type=kind, key="Tab", windowsVirtualKeyCode=9)
        reached.append(tab.value("document.activeElement.id || document.activeElement.innerText"))
    names = [one.path.stem for one in SHOWN.files]
    assert reached == ["microphone", "file", *names, "paced", "sound", "right"]


def test_texts_of_others_are_only_texts(tab: Tab, tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>"
    path = tmp_path / "a b&c.wav"
    soundfile.write(path, *soundfile.read(SPOKEN))
    pages = Pages(bad, Recordings((Recording(path, bad),), bad))
    with serving(Offer(CONTEXTS[:1], recognizer), pages=pages) as server:
        open_page(tab, server)
        tab.value("document.getElementById('paced').click()")
        tab.value("document.querySelector('#recordings button').click()")
        assert list(heard(tab)) == ["32/256/0"]
    shown = tab.value("document.body.innerText")
    assert shown.count(bad) == 3 and tab.value("document.images.length") == 0
    assert tab.complaints == []


def test_a_call_that_fails_says_why(tab: Tab) -> None:
    limits = Limits(max_whole_seconds=1.0)
    pages = Pages("digits", SHOWN)
    with serving(Offer(CONTEXTS, recognizer), limits, pages=pages) as server:
        open_page(tab, server)
        tab.value("document.getElementById('paced').click()")
        tab.value("document.querySelector('#recordings button').click()")
        tab.wait(f"{STATUS}.startsWith('more than 1 s: at full context')")
        states = json.loads(tab.value(f"JSON.stringify({COLUMNS}.map(c => c.dataset.state))"))
        assert states == ["done", "done", "done", "failed"]
    tab.value("document.querySelector('#recordings button').click()")
    tab.wait(f"{STATUS} === 'Failed to fetch'")
