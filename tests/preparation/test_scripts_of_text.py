"""Transcripts in several scripts are reported."""

from __future__ import annotations

from local.lib.scripts_of_text import report


def test_one_script_is_not_worth_a_line() -> None:
    assert report([("a", "it's 7 o'clock"), ("b", "déjà vu")]) == []
    assert report([("a", "これは本"), ("b", "カタカナ")]) == []


def test_two_scripts_are_counted_with_an_example_of_each() -> None:
    texts = [("a", "добро"), ("b", "dobro"), ("c", "јутро")]
    (line,) = report(texts)
    assert line == "transcripts are in 2 scripts: Cyrillic in 2 (a), Latin in 1 (b)"


def test_letters_of_both_in_one_transcript_count_for_both() -> None:
    (line,) = report([("a", "你好 hello"), ("b", "你")])
    assert "Cjk in 2 (a)" in line and "Latin in 1 (a)" in line
