"""The page about a run: one HTML file that needs nothing but itself.

There is no script in it, and a policy in its head (``page.html``) that lets none run, nothing load
and nothing be sent, whatever texts the run brought along.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.files import write_text
from zipformer.report.axis import short
from zipformer.report.chart import Chart, small
from zipformer.report.compare import check_sets
from zipformer.report.comparison_page import Rates, to_rates
from zipformer.report.curves import is_number, training_charts, validation_charts
from zipformer.report.rendering import render
from zipformer.report.run_summary import RunSummary, read_run
from zipformer.report.utterances import worst_utterances
from zipformer.report.wer_chart import wer_chart


def write_report(
    exp_dir: Path, path: Path | None = None, worst: int = 10, figures_dir: Path | None = None
) -> Path:
    """Writes the page about a run.

    Args:
        exp_dir: The run's folder.
        path: Where to; ``report.html`` in the folder by default.
        worst: Utterances to show of every result.
        figures_dir: Folder for its charts as PDF and PNG, for papers; None = no such files.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: If the folder is none of a run.
        ValueError: If a result in it is damaged.
        ImportError: If figures are asked for and matplotlib is missing.
    """
    if figures_dir is not None:
        from zipformer.report.figures import write_figures  # refuses to go on without matplotlib
    run = read_run(exp_dir)
    path = path or exp_dir / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, to_html(run, worst))
    if figures_dir is not None:
        write_figures(_figures(run), figures_dir)
    return path


def to_html(run: RunSummary, worst: int = 10) -> str:
    """The page as text."""
    curves = [*validation_charts(run.records).values(), *training_charts(run.records).values()]
    selection = run.selection if run.selection and run.selection.candidates else None
    lists = worst_utterances(run.entries, worst)
    sections = {
        "Curves": True,
        "Word error rates": True,
        "Choice of the checkpoint": selection is not None,
        "Worst utterances": bool(lists),
        "Config": bool(run.config),
        "Environment": True,
    }
    return render(
        "run.html",
        title=run.name,
        run=run,
        sections=[section for section, shown in sections.items() if shown],
        curves=[small(chart) for chart in curves],
        validations=_validations(run),
        rates=_rates(run),
        selection=selection,
        worst=lists,
        environment=Table(["what", "is"], [[*fact] for fact in run.environment.items()]),
    )


def _validations(run: RunSummary) -> Table | None:
    """All values of all validations, for those who want to read numbers."""
    records = [r for r in run.records if r.get("kind") == "valid"]
    if not records:
        return None
    names = list(dict.fromkeys(name for r in records for name, v in r.items() if is_number(v)))
    rows = [
        [short(r[name]) if is_number(r.get(name)) else NO_RESULT for name in names] for r in records
    ]
    return Table(names, rows)


def _rates(run: RunSummary) -> Rates | None:
    """The results, with a warning where two sets of one name differ."""
    if not run.entries:
        return None
    rates = to_rates(run.entries)
    try:
        check_sets(run.entries)
    except ValueError as error:
        return replace(rates, warnings=[*rates.warnings, str(error)])
    return rates


def _figures(run: RunSummary) -> dict[str, list[Chart]]:
    """The charts of the page by the names of their files."""
    validation = validation_charts(run.records).items()
    charts = {f"validation-{_file_name(k)}": [chart] for k, chart in validation}
    charts |= {f"training-{k}": [chart] for k, chart in training_charts(run.records).items()}
    if run.entries:
        charts["wer-over-latency"] = [wer_chart(run.entries, short_labels=True)]
    return charts


def _file_name(group: str) -> str:
    return re.sub(r"[^\w.-]+", "-", group)
