"""The figure over epochs has the last validation of each, as a mean over seeds."""

from __future__ import annotations

import json
from pathlib import Path

from study.conftest import Writer

from zipformer.study.description import Study
from zipformer.study.epochs import epochs_chart
from zipformer.study.page import to_html
from zipformer.study.reading import read_study
from zipformer.study.training import Training, trainings_of


def record(training: Training, *losses: tuple[int, float | None]) -> None:
    training.folder.mkdir(parents=True)
    lines = [{"kind": "train", "epoch": 1, "loss": 99.0}]
    lines += [{"kind": "valid", "epoch": epoch, "loss": loss} for epoch, loss in losses]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (training.folder / "metrics.jsonl").write_text(text)


def test_a_line_is_a_run_and_a_point_the_mean_of_its_seeds(study: Study) -> None:
    menu1, none1, menu2, _ = trainings = trainings_of(study)
    assert epochs_chart(trainings) is None
    record(menu1, (1, 9.0), (1, 4.0), (2, 2.0))  # twice in the first epoch
    record(menu2, (1, 6.0), (2, None))  # a loss that was not finite
    record(none1, (1, 3.0))
    chart = epochs_chart(trainings)
    assert chart is not None
    found = {line.label: [(p.x, p.y, p.high) for p in line.points if p] for line in chart.lines}
    assert found == {"menu": [(1, 5.0, 6.0), (2, 2.0, None)], "none": [(1, 3.0, None)]}
    assert [text for _, text in chart.x.ticks] == ["1", "2"]


def test_a_study_may_ask_for_it(write_study: Writer, tmp_path: Path) -> None:
    study = read_study(write_study(('figures = ["latency", "right"]', 'figures = ["epoch"]')))
    trainings = trainings_of(study)
    assert "<figure" not in to_html(study, trainings, [])
    record(trainings[0], (1, 4.0))
    assert "Validation loss over epochs" in to_html(study, trainings, [])
