"""Delays of words, where a study measures them: asked for once, and the mean over the seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from study.conftest import Writer, decode, finish

from zipformer.serving.latency import Delay, Latency, write_latencies
from zipformer.study.page import rates_table
from zipformer.study.reading import read_study
from zipformer.study.summary import summarize
from zipformer.study.training import Training, trainings_of


@pytest.fixture
def decoded(write_study: Writer) -> list[Training]:
    trainings = trainings_of(read_study(write_study(("[show]", 'latency = "alignment"\n[show]'))))
    for training in trainings:
        finish(training)
        decode(training, 10)
    return trainings


def write(training: Training, contexts: tuple[str, ...], p50: float) -> None:
    rows = [
        Latency("clean", context, 450, 9, 8, Delay(p50, p50 + 100), None, None, 0.1)
        for context in contexts
    ]
    (words,) = training.decode_words()
    write_latencies(Path(words[words.index("--json") + 1]), rows)


def test_delays_are_measured_once_of_live_streams_alone(decoded: list[Training]) -> None:
    training = decoded[0]
    (words,) = training.decode_words()
    assert words[:2] == ["latency", str(training.folder)]
    assert words[words.index("--contexts") + 1] == "32/128/0 32/128/64"
    assert words[words.index("--speech-end") + 1] == "alignment"
    assert words[words.index("--epoch") + 1] == "2"
    write(training, ("32/128/0",), 100.0)
    assert len(training.decode_words()) == 1
    write(training, ("32/128/0", "32/128/64"), 100.0)
    assert training.decode_words() == []
    assert [row.context for row in training.latencies("greedy")] == ["32/128/0", "32/128/64"]
    assert training.latencies("modified_beam_search-beam4") == []


def test_a_row_has_the_mean_over_its_seeds(decoded: list[Training]) -> None:
    for training in decoded:
        if training.run.name == "menu":
            write(training, ("32/128/0", "32/128/64"), 100.0 * training.seed)
    rows = summarize(decoded[0].study, decoded)
    found = {(row.run.name, row.way.context): row.latency for row in rows}
    assert found["menu", "32/128/0"] == found["menu", "32/128/64"] == Delay(150.0, 250.0)
    assert found["menu", "full"] is None and found["none", "32/128/0"] is None
    table = rates_table(decoded[0].study, rows)
    column = [line[table.head.index("Latency@50 / @90 ms")] for line in table.rows]
    assert column == ["-", "150 / 250", "150 / 250", "-", "-", "-", "-"]
    assert {len(line) for line in table.rows} == {len(table.head)}


def test_without_delays_there_is_no_column_and_no_command(write_study: Writer) -> None:
    study = read_study(write_study())
    trainings = trainings_of(study)
    for training in trainings:
        finish(training)
        decode(training, 10)
        assert training.decode_words() == []
    head = rates_table(study, summarize(study, trainings)).head
    assert not any("Latency" in name for name in head)


def test_damaged_delays_are_named(decoded: list[Training]) -> None:
    write(decoded[0], ("32/128/0",), 100.0)
    path = next((decoded[0].folder / "decode").glob("latency*.json"))
    for text in ("[", "[3]", '[{"set": "clean"}]'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"latency-alignment-.*holds no delays .* delete it"):
            decoded[0].decode_words()
