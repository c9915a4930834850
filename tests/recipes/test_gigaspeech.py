"""GigaSpeech in its layout: one list of recordings and their segments, audio as Opus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recipes.miniature import WORDS, run_recipe, write_opus

SETS = {
    "george": ["{XL}", "{XS}"],
    "jackson": ["{XL}"],
    "lucas": ["{DEV}"],
    "theo": ["{TEST}"],
}


def written(digits: list[int]) -> str:
    return f"{' <COMMA> '.join(WORDS[digit].upper() for digit in digits)} <PERIOD>"


def write_corpus(folder: Path) -> Path:
    """GigaSpeech.json and audio/: a recording for each speaker, music at its end."""
    audios = []
    for speaker, subsets in SETS.items():
        path = Path("audio") / "podcast" / f"{speaker}.opus"
        segments = write_opus(folder / path, speaker, written)
        duration = segments[-1][1]
        segments.append((duration - 0.4, duration, "<MUSIC>"))
        audios.append(
            {
                "aid": speaker,
                "path": str(path),
                "duration": duration,
                "sample_rate": 16000,
                "channels": 1,
                "subsets": subsets,
                "segments": [
                    {
                        "sid": f"{speaker}_S{number:07d}",
                        "speaker": "N/A",
                        "begin_time": begin,
                        "end_time": end,
                        "text_tn": text,
                        "subsets": subsets,
                    }
                    for number, (begin, end, text) in enumerate(segments)
                ],
            }
        )
    (folder / "GigaSpeech.json").write_text(json.dumps({"audios": audios}))
    return folder


@pytest.mark.slow
def test_from_the_list_to_word_error_rates(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    options = ("--vocab-size", "30", "--shar", "true")
    chain = run_recipe(
        "gigaspeech", corpus, tmp_path, "lang_bpe/bpe.model", "dev", "test", *options
    )
    assert "train: 12 utterances" in chain.printed
    assert "left out 2: not to be used, as the corpus says" in chain.printed
    assert all(
        len(text.split()) == 4 and "<" not in text
        for text in chain.texts("gigaspeech", "train").values()
    )
    assert all(r["words"] == 24 for r in chain.results)
    assert (chain.data / "shar" / "gigaspeech_cuts_train").is_dir()
