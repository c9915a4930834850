"""WenetSpeech in its layout: one list of recordings and their segments, characters and words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recipes.miniature import run_recipe, write_opus

from zipformer.tokens import open_tokenizer

DIGITS = ["零", "一", "二", "三", "四", "五", "六", " seven ", " eight ", "九"]
SETS = {"george": ["L", "S"], "jackson": ["L"], "lucas": ["DEV"], "theo": ["TEST_NET"]}


def written(digits: list[int]) -> str:
    return "".join(DIGITS[digit] for digit in digits)


def write_corpus(folder: Path) -> Path:
    """WenetSpeech.json and audio/; of TEST_MEETING there is an entry, but no audio."""
    audios = []
    for speaker, subsets in SETS.items():
        path = Path("audio") / "youtube" / f"{speaker}.opus"
        segments = write_opus(folder / path, speaker, written)
        audios.append(entry(speaker, path, segments[-1][1], segments, subsets))
    absent = [(0.0, 2.0, "一二")]
    audios.append(entry("meeting", Path("audio/meeting.opus"), 2.0, absent, ["TEST_MEETING"]))
    (folder / "WenetSpeech.json").write_text(json.dumps({"audios": audios}), encoding="utf-8")
    return folder


def entry(
    name: str,
    path: Path,
    duration: float,
    segments: list[tuple[float, float, str]],
    subsets: list[str],
) -> dict[str, object]:
    return {
        "aid": name,
        "path": str(path),
        "duration": duration,
        "segments": [
            {
                "sid": f"{name}_S{number:05d}",
                "begin_time": begin,
                "end_time": end,
                "text": text,
                "subsets": subsets,
            }
            for number, (begin, end, text) in enumerate(segments)
        ],
    }


@pytest.mark.slow
def test_from_the_list_to_character_error_rates(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    tokens = "lang_char/bpe.model"
    chain = run_recipe(
        "wenetspeech", corpus, tmp_path, tokens, "dev", "test-net", "--word-pieces", "20"
    )
    assert "train: 12 utterances" in chain.printed
    assert "test-meeting: none of its audio is there, left out" in chain.printed
    assert "transcripts are in 2 scripts: Cjk in 12" in chain.printed
    tokenizer = open_tokenizer(chain.data / tokens)
    for text in chain.texts("wenetspeech", "train").values():
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert sum(len(tokenizer.tokens[i]) == 1 and "一" <= tokenizer.tokens[i] for i in ids) == (
            sum("一" <= c for c in text)
        )
    assert all(r["unit"] == "char" and "cer" in r for r in chain.results)
