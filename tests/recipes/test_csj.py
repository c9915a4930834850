"""The CSJ in its layout: sessions of which some are missing, damaged or dialogues; Shift-JIS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipes.miniature import Spoken, run_recipe, spoken
from recipes.prepared import prepare

DIGITS = "零一二三四五六七八九"
SESSIONS = {  # in core: their speakers here
    "A01M0900": "george",
    "A01M0264": "lucas",  # valid
    "A01M0110": "theo",  # eval1
    "S05M0613": "theo",  # a speaker of eval2: not trained on
}
DIALOGUE = "D01F0900"


def line(session: str, number: int, begin: float, end: float, side: str, word: str) -> str:
    """A word of an .sdb file; columns that are not read are filled."""
    fields = ["x"] * 17
    fields[2] = session
    fields[3] = f"{number:04d} {begin:09.3f}-{end:09.3f} {side}:-001-001"
    fields[5] = fields[9] = fields[10] = word
    return "\t".join(fields)


def transcript(session: str, said: list[Spoken], side: str = "L") -> list[str]:
    lines, at = [], 0.0
    for number, one in enumerate(said, 1):
        end = at + len(one.samples) / 16000
        lines += [line(session, number, at, end, side, DIGITS[digit]) for digit in one.digits]
        at = end + 1.0  # a pause in which nothing is joined
    return lines


def audio(path: Path, said: list[Spoken]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pause = np.zeros(16000, np.float32)
    soundfile.write(path, np.concatenate([x for s in said for x in (s.samples, pause)]), 16000)


def write_corpus(folder: Path) -> Path:
    """MORPH/SDB/core and WAV/core."""
    table, wav = folder / "MORPH/SDB/core", folder / "WAV/core"
    table.mkdir(parents=True)
    for session, speaker in SESSIONS.items():
        said = list(spoken(4, (speaker,)))
        lines = transcript(session, said)
        (table / f"{session}.sdb").write_text("\n".join(lines) + "\n", encoding="shift_jis")
        audio(wav / f"{session}.wav", said)
    lines = []
    for side, speaker in (("L", "jackson"), ("R", "lucas")):
        said = list(spoken(3, (speaker,)))
        lines += transcript(DIALOGUE, said, side)
        audio(wav / f"{DIALOGUE}-{side}.wav", said)
    (table / f"{DIALOGUE}.sdb").write_text("\n".join(lines) + "\n", encoding="shift_jis")
    (table / "A01M0901.sdb").write_text(
        line("A01M0901", 1, 0.0, 1.0, "L", "一") + "\n", "shift_jis"
    )
    (table / "A01M0902.sdb").write_bytes(b"\xff\xff\xff")
    unclear = [line("A01M0903", n, n, n + 1.0, "L", w) for n, w in ((1, "一二"), (3, "二×"))]
    (table / "A01M0903.sdb").write_text("\n".join(unclear) + "\n", encoding="shift_jis")
    audio(wav / "A01M0903.wav", list(spoken(2, ("george",))))
    return folder


@pytest.mark.slow
def test_from_what_is_on_the_disk_to_character_error_rates(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    options = ("--speed-factors", "1.0")
    chain = run_recipe("csj", corpus, tmp_path, "lang_char/bpe.model", "valid", "eval1", *options)
    assert "not there: the sessions of eval2, eval3" in chain.printed
    assert "left out 1: no audio file: A01M0901" in chain.printed
    assert "left out 1: transcript is neither Shift-JIS nor UTF-8: A01M0902" in chain.printed
    assert "left out 1: not to be used, as the corpus says: A01M0903_0003" in chain.printed
    assert "left out 1 recordings of a speaker of eval2" in chain.printed
    texts = chain.texts("csj", "train")
    assert len(texts) == 4 + 3 + 3 + 1  # a talk, both sides of the dialogue, what is intelligible
    assert all(len(text) == 4 for name, text in texts.items() if "A01M0903" not in name)
    assert all(r["unit"] == "char" and r["words"] == 16 for r in chain.results)


def test_another_corpus_is_refused_saying_which(tmp_path: Path) -> None:
    (tmp_path / "legacy" / "train" / "stm").mkdir(parents=True)
    given = ["--corpus-dir", tmp_path, "--data-dir", tmp_path / "data"]
    printed = prepare("csj", *given, fails=True)
    assert "which looks like TED-LIUM 3 (recipes/tedlium)" in printed
