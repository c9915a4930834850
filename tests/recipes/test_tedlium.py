"""TED-LIUM 3 in its layout: talks in SPHERE files, segments of them in STM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipes.miniature import WORDS, run_recipe, spoken

from recipes.tedlium.tedlium import text_rule

SETS = {"george": "train", "jackson": "train", "lucas": "dev", "theo": "test"}


def write_corpus(folder: Path) -> Path:
    """legacy/SET/{sph,stm}: a talk for each speaker, in which utterances follow one another."""
    for speaker, name in SETS.items():
        talk, lines, at = speaker.title(), [], 0.0
        said = list(spoken(5, (speaker,)))
        for one in said:
            end = at + len(one.samples) / 16000
            words = " ".join(WORDS[digit] for digit in one.digits)
            lines.append(f"{talk} 1 {talk} {at:.2f} {end:.2f} <o,f0,male> it 's {words} {{NOISE}}")
            at = end
        lines.append(f"{talk} 1 {talk} 0.00 0.50 <o,,unknown> ignore_time_segment_in_scoring")
        for kind in ("sph", "stm"):
            (folder / "legacy" / name / kind).mkdir(parents=True, exist_ok=True)
        samples = np.concatenate([one.samples for one in said])
        audio = folder / "legacy" / name / "sph" / f"{talk}.sph"
        soundfile.write(audio, samples, 16000, format="NIST", subtype="PCM_16")
        (folder / "legacy" / name / "stm" / f"{talk}.stm").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_from_talks_to_word_error_rates(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus" / "TEDLIUM_release-3")
    options = ("--speed-factors", "1.0", "--vocab-size", "30")
    chain = run_recipe(
        "tedlium", corpus.parent, tmp_path, "lang_bpe/bpe.model", "dev", "test", *options
    )
    assert "train: 10 utterances" in chain.printed and "2 speakers" in chain.printed
    texts = list(chain.texts("tedlium", "train").values())
    assert all(text.startswith("it's ") and len(text.split()) == 5 for text in texts)
    assert all(r["words"] == 25 for r in chain.results)


def test_a_segment_of_noise_alone_is_no_fault() -> None:
    assert text_rule("  one   two ") == "one two"
    assert text_rule(" ") is None
