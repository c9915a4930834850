"""The verbs that make plots write them for papers where they are asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="needs the extra 'figures'")

from serving.fake_server import ServerConnection, bounded, fake_server, hear, say
from tiny_run import write_cuts

from zipformer.commands import compare, loadtest, report
from zipformer.commands.parser import VerbParser


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_compare_writes_word_error_rate_over_latency(
    example_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = ["--html", str(tmp_path / "a.html"), "--csv", str(tmp_path / "a.csv")]
    figures = tmp_path / "new" / "figures"
    compare.main([str(example_run), *outputs, "--figures", str(figures)], "compare")
    assert names(figures) == ["wer-over-latency.pdf", "wer-over-latency.png"]
    assert capsys.readouterr().out.endswith(f"Figures: {figures}\n")
    compare.main([str(example_run), *outputs], "compare")
    assert "Figures" not in capsys.readouterr().out


def test_report_writes_all_of_its_charts(
    example_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "decode").symlink_to(example_run / "decode")
    report.main([str(run), "--figures", str(tmp_path / "figures")], "report")
    assert names(tmp_path / "figures") == ["wer-over-latency.pdf", "wer-over-latency.png"]
    page, figures = capsys.readouterr().out.splitlines()
    assert page == f"Page: {run / 'report.html'}" and figures == f"Figures: {tmp_path / 'figures'}"


@bounded
async def load_test(audio: Path, figures: Path) -> None:
    """Calls a server that hears the same in everything."""

    async def handler(client: ServerConnection) -> None:
        await hear(client)
        await say(client, {"text": "one", "is_eof": True})

    parser = VerbParser("loadtest", None)
    loadtest.add_arguments(parser)
    async with fake_server(handler) as uri:
        options = ["--audio", str(audio), "--concurrency", "1", "2", "--calls", "2"]
        options += ["--pace", "fast", "--figures", str(figures)]
        await loadtest.run(parser.read([uri, *options]))


def test_loadtest_writes_both_charts_as_one_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_test(write_cuts(tmp_path, "clips", ["one"]), tmp_path / "figures")
    assert names(tmp_path / "figures") == ["load.pdf", "load.png"]
    assert f"Figures: {tmp_path / 'figures'}\n" in capsys.readouterr().out
