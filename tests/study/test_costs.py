"""Costs of the published sizes and of a study's runs: what is printed, kept, and shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands.calling import Caller
from nn.small_encoder import CONFORMER
from study.conftest import Writer, decode, finish

from zipformer.context import Context
from zipformer.study.cost_page import PUBLISHED, cost_charts, cost_table, said_of
from zipformer.study.costs import (
    COSTS,
    Cost,
    at_contexts,
    choose,
    cost_of,
    costs_of,
    encoders_of,
    published_encoders,
    read_costs,
    write_costs,
)
from zipformer.study.measuring import Measurement, measure
from zipformer.study.page import to_html
from zipformer.study.reading import read_study
from zipformer.study.summary import summarize
from zipformer.study.training import trainings_of

TINY = """
[options]
"encoder.kind" = "conformer"
"encoder.dim" = 24
"encoder.num_heads" = 2
"encoder.feedforward_dim" = 48
"encoder.num_layers" = 1
"encoder.kernel" = 7
"encoder.frontend_channels" = [4, 8, 16]
"""
MEASURED = Measurement(2, 1.5, 0.25, "cpu, threads 1", "2.0")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(capsys, monkeypatch)


def made_up(name: str, context: str, seconds: float = 1.5) -> Cost:
    measured = replace(MEASURED, seconds=seconds, memory_gib=seconds / 6)
    return Cost(name, context, 1.2, 1.0, 6.0, 3.0, 2.0, 1.0, "abc", measured)


def test_every_size_of_every_kind_has_a_name_of_its_own() -> None:
    encoders = published_encoders()
    names = [encoder.name for encoder in encoders]
    assert len(set(names)) == len(names)
    assert set(PUBLISHED) < set(names) and "ContextNet-L" in names
    assert not any(encoder.config.causal for encoder in encoders)
    both = [c for e in published_encoders([Context.full(), Context(32, 256)]) for c in e.contexts]
    assert both.count(Context.full()) == both.count(Context(32, 256)) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("Zipformer")])
def test_zipformers_cost_what_was_published(name: str) -> None:
    encoder = choose(published_encoders(), [name])[0]
    cost = cost_of(encoder, Context.full())
    params, gflops = PUBLISHED[name]
    assert cost.params_m == pytest.approx(params, abs=0.1)
    assert cost.gflops_30s == pytest.approx(gflops, rel=0.03)
    assert cost.gflops_30s == pytest.approx(cost.products + cost.convolutions + cost.others)
    row = cost_table([cost]).rows[0]
    assert f"{params:.1f}" in row and f"{gflops:.1f}" in row


def test_json_has_an_object_for_each(call: Caller, tmp_path: Path) -> None:
    words = ["--costs", "--json", "--encoders", "Conformer-S", "--contexts", "full 32/256/0"]
    done = call("study", *words, cwd=tmp_path)
    assert done.status == 0, done.stderr
    full, chunks = json.loads(done.stdout)
    assert full["name"] == chunks["name"] == "Conformer-S"
    assert [full["context"], chunks["context"]] == ["full", "32/256/0"]
    assert 9 < full["params_m"] < 10 and full["measured"] is None
    assert 0 < chunks["gflops_30s"] < full["gflops_30s"]


@pytest.mark.parametrize(
    "words,message",
    [
        (["--costs", "--encoders", "Zipformer-s"], "did you mean Zipformer-S"),
        (["--costs", "--contexts", "32/100/0"], "Zipformer-S: context 32/100/0: left 100 is not"),
        (["--costs", "--measure", "--batch", "0"], "--batch 0: write a number above 0"),
        (["--measure", "study.toml"], "--measure belongs to --costs"),
        (["--json", "study.toml"], "--json belongs to --costs"),
        ([], "name the TOML of a study, or write --costs"),
    ],
)
def test_a_mistake_is_one_line(
    call: Caller, tmp_path: Path, words: list[str], message: str
) -> None:
    done = call("study", *words, cwd=tmp_path)
    assert done.status == 1 and message in done.stderr and done.stderr.count("\n") == 1


def test_runs_are_counted_once_and_keep_what_was_measured(write_study: Writer) -> None:
    study = read_study(write_study(more=TINY))
    costs = costs_of(study)
    assert [(c.name, c.context) for c in costs] == [
        (run, context) for run in ("menu", "none") for context in ("full", "32/128/0", "32/128/64")
    ]
    assert costs[0].params_m is None  # there is no vocabulary yet
    assert costs[1].gflops_30s == costs[4].gflops_30s < costs[2].gflops_30s
    assert read_costs(study.exp_dir) == costs
    measured = [replace(cost, gflops_30s=1.0, measured=MEASURED) for cost in costs]
    write_costs(study.exp_dir, measured)
    assert costs_of(study) == measured
    wider = read_study(write_study(more=TINY.replace("= 48", "= 64")))
    assert all(cost.measured is None and cost.gflops_30s != 1 for cost in costs_of(wider))


def test_damaged_costs_are_named(write_study: Writer) -> None:
    study = read_study(write_study(more=TINY))
    study.exp_dir.mkdir()
    for text in ("[", "[3]", '[{"name": "menu"}]'):
        (study.exp_dir / COSTS).write_text(text)
        with pytest.raises(ValueError, match=rf"{COSTS} is damaged .*: delete it"):
            costs_of(study)


def test_the_page_has_costs_and_where_measured_figures(write_study: Writer) -> None:
    study = read_study(write_study())
    trainings = trainings_of(study)
    for training in trainings:
        finish(training)
        decode(training, 10 if training.run.name == "menu" else 30)
    rows = summarize(study, trainings)
    times = {"full": 1.0, "32/128/0": 0.5, "32/128/64": 2.0}
    costs = [made_up(run, c, s) for run in ("menu", "none") for c, s in times.items()]
    time, memory = cost_charts(rows, costs)
    by_name = {(row.run.name, row.way.context): row.mean for row in rows}
    for line, run in zip(time.lines, ("menu", "none"), strict=True):
        wanted = [(times[c], by_name[run, c]) for c in ("32/128/0", "full", "32/128/64")]
        assert [(p.x, p.y) for p in line.points if p] == wanted
    assert time.x.label == "seconds for a batch of 2 x 30 s"
    assert [p.x for p in memory.lines[0].points if p] == pytest.approx([0.5 / 6, 1 / 6, 2 / 6])
    page = to_html(study, trainings, rows, costs)
    assert page.count("<figure") == 4 and "<h2>Costs</h2>" in page
    assert "batch of 2 x 30 s on cpu, threads 1" in page
    counted = [replace(cost, measured=None) for cost in costs]
    assert cost_charts(rows, counted) == []
    page = to_html(study, trainings, rows, counted)
    assert page.count("<figure") == 2 and "<h2>Costs</h2>" in page and "memory GiB" not in page


def test_what_was_not_measured_has_no_column_but_a_dash_beside_what_was() -> None:
    costs = [made_up("a", "full"), replace(made_up("b", "full"), measured=None, params_m=None)]
    table = cost_table(costs, {"a": "A", "b": "B"})
    assert table.rows[0][-2:] == ["1.50", "0.25"] and table.rows[1][-2:] == ["-", "-"]
    assert [row[0] for row in table.rows] == ["A", "B"] and table.rows[1][2] == "-"
    assert "memory GiB" not in cost_table(costs[1:], {}).head
    assert said_of([]) == ""


def test_masked_rows_have_no_place_among_windows(write_study: Writer) -> None:
    study = read_study(write_study(('"32/128/64"]', '"32/128/64"]\nmodes = ["masked"]')))
    trainings = trainings_of(study)
    decode(trainings[0], 10, right_mode="masked")
    rows = summarize(study, trainings)
    costs = [made_up("menu", row.way.context) for row in rows]
    assert len(rows) == 3
    time, _ = cost_charts(rows, costs)
    assert len(time.lines[0].points) == 2  # not 32/128/64


def test_encoders_that_cannot_compute_a_context_are_named(write_study: Writer) -> None:
    study = read_study(write_study(more=TINY))
    with pytest.raises(ValueError, match="^menu: context 30/120/0"):
        list(at_contexts(encoders_of(study, [Context(30, 120)])))


@pytest.mark.slow
def test_a_measurement_has_the_memory_of_its_batch() -> None:
    few, many = (measure(CONFORMER, Context(32, 128, 32), batch, "cpu") for batch in (1, 12))
    assert few.seconds > 0 and few.device.startswith("cpu, threads ")
    # At least what the frontend makes of 11 more utterances: images of 16 channels at 50 Hz.
    assert many.memory_gib - few.memory_gib > 11 * 1496 * 19 * 16 * 4 / 2**30


def test_costs_that_were_kept_stay_readable() -> None:
    menu, none = read_costs(Path(__file__).parents[1] / "assets" / "frozen")
    assert menu.measured == Measurement(30, 1.5, 0.25, "cpu, threads 1", "2.13.0+cpu")
    assert menu.params_m == 1.1 and none.params_m is none.measured is None
