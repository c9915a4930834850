"""local/lib/skipped.py: lists of what preparation has left out."""

from pathlib import Path

from local.lib.skipped import Skipped, read_skipped, write_skipped


def test_a_list_reads_back_whatever_the_names_are(tmp_path: Path) -> None:
    names = ["a\u2028b", "c\x0bd", "e\x85", "\x1c", "plain"]
    written = [Skipped(name, "file", "no text", "line 3") for name in names]
    write_skipped(tmp_path / "x.skipped.tsv", written)
    assert read_skipped(tmp_path / "x.skipped.tsv") == written
    write_skipped(tmp_path / "x.skipped.tsv", [Skipped("a\tb\r\nc", "file", "no text")])
    assert read_skipped(tmp_path / "x.skipped.tsv") == [Skipped("a b  c", "file", "no text")]
