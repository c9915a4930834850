"""The page about a run: one HTML file that needs nothing but itself.

There is no script in it, and a policy in its head that lets none run, nothing load and nothing be
sent, whatever texts the run brought along.
"""

from __future__ import annotations

from pathlib import Path

from zipformer.evaluation.results import write_lines
from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.report.chart import gallery, short
from zipformer.report.compare import check_sets, warnings
from zipformer.report.comparison_page import LEGEND, rates_html, sources, table_html
from zipformer.report.curves import is_number, training_charts, validation_charts
from zipformer.report.markup import Child, Markup, element
from zipformer.report.run import Run, read_run
from zipformer.report.style import STYLE
from zipformer.report.utterances import legend, worst_utterances
from zipformer.report.wer_plot import wer_plot

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
LAYOUT = """
nav a { display: inline-block; margin-right: 1rem; }
a { color: var(--ins); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr));
  gap: 0.5rem; margin: 1rem 0; }
dl > div { background: var(--panel); padding: 0.5rem 0.7rem; }
dt { color: var(--dim); font-size: 13px; line-height: 1.3; }
dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums; }
.charts { display: grid; gap: 1.2rem 1.6rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; }
figcaption .dim { font-weight: 400; }
figure text { font: 12px system-ui, sans-serif; }
.legend { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: 0 1rem; font-size: 13px; }
.sign { display: inline-block; width: 22px; height: 10px; margin-right: 0.35rem; }
details { margin: 0.5rem 0; }
summary { cursor: pointer; padding: 0.3rem 0; }
article { margin: 0.6rem 0 1.2rem; }
h4 { margin: 0 0 0.2rem; font-size: 14px; }
h4 .dim { font-weight: 400; }
.pairs { display: flex; flex-wrap: wrap; gap: 0.4rem 0.55rem; }
.pair { display: inline-flex; flex-direction: column; line-height: 1.35; max-width: 100%; }
.pair .heard { color: var(--dim); }
.pair.sub .heard, b.sub { color: var(--sub); font-weight: 600; }
.pair.del .said, b.del { color: var(--del); font-weight: 600; }
.pair.del .said { text-decoration: line-through; }
.pair.ins .heard, b.ins { color: var(--ins); font-weight: 600; }
.pair.ins .heard { text-decoration: underline; }
.sub, .del, .ins { border-radius: 3px; }
.pair.sub, .pair.del, .pair.ins { background: var(--panel); padding: 0 0.25rem; }
pre { background: var(--panel); padding: 0.7rem; overflow-x: auto; font-size: 13px; }
"""


def write_report(exp_dir: Path, path: Path | None = None, worst: int = 10) -> Path:
    """Writes the page about a run.

    Args:
        exp_dir: The run's folder.
        path: Where to; ``report.html`` in the folder by default.
        worst: Utterances to show of every result.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: If the folder is none of a run.
        ValueError: If a result in it is damaged.
    """
    path = path or exp_dir / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, [to_page(read_run(exp_dir), worst)])
    return path


def to_page(run: Run, worst: int = 10) -> str:
    """The page as text."""
    sections = {
        "Curves": _curves(run),
        "Word error rates": _results(run),
        "Choice of the checkpoint": _selection(run),
        "Worst utterances": _worst(run, worst),
        "Config": _config(run),
        "Environment": _wide(Table(["what", "is"], [[*fact] for fact in run.environment.items()])),
    }
    shown = {title: content for title, content in sections.items() if content}
    links = [element("a", title, href=f"#{_anchor(title)}") for title in shown]
    parts = [[element("h2", title, id=_anchor(title)), content] for title, content in shown.items()]
    head = [
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        element("title", run.name),
        element("style", Markup(STYLE + LAYOUT)),
    ]
    body = [element("h1", run.name), _facts(run.summary), element("nav", links), parts]
    page = element("html", element("head", head), element("body", body), lang="en")
    return f"<!doctype html>\n{page}"


def _curves(run: Run) -> Child:
    charts = [*validation_charts(run.records), *training_charts(run.records)]
    if not charts:
        return element("p", "There is no metrics.jsonl: this folder was not trained in.")
    return [gallery(charts), _validations(run)]


def _validations(run: Run) -> Markup | None:
    """All figures of all validations, for those who want to read numbers."""
    records = [r for r in run.records if r.get("kind") == "valid"]
    if not records:
        return None
    names = list(dict.fromkeys(name for r in records for name, v in r.items() if is_number(v)))
    rows = [
        [short(r[name]) if is_number(r.get(name)) else NO_RESULT for name in names] for r in records
    ]
    return _folded("All validations as numbers", _wide(Table(names, rows)))


def _results(run: Run) -> Child:
    if not run.entries:
        return element("p", "Nothing is decoded yet: run scripts/decode.py with this folder.")
    notes = warnings(run.entries)
    try:
        check_sets(run.entries)
    except ValueError as error:
        notes.append(str(error))
    return [
        [element("p", note, class_="warning") for note in notes],
        element("div", Markup(wer_plot(run.entries)), class_="wide"),
        Markup(rates_html(run.entries)),
        Markup(LEGEND),
        _folded("Where the figures come from", _wide(sources(run.entries))),
    ]


def _selection(run: Run) -> Child:
    if run.selection is None or not run.selection.candidates:
        return None
    return [element("p", f"{run.selection.why}."), _wide(run.selection.table())]


def _worst(run: Run, count: int) -> Child:
    lists = worst_utterances(run.entries, count)
    return [legend(), lists] if lists else None


def _config(run: Run) -> Child:
    return _folded("config.toml", element("pre", run.config)) if run.config else None


def _facts(facts: dict[str, str]) -> Child:
    pairs = [
        element("div", element("dt", name), element("dd", value)) for name, value in facts.items()
    ]
    return element("dl", pairs) if pairs else None


def _folded(title: str, *content: Child) -> Markup:
    return element("details", element("summary", title), *content)


def _wide(table: Table) -> Markup:
    """A table that scrolls by itself where the page is narrow."""
    return element("div", Markup(table_html(table)), class_="wide")


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
