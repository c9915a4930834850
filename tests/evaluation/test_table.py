"""Tables keep every cell in its place."""

from __future__ import annotations

from zipformer.evaluation.table import Table, to_markdown, without_constants

TABLE = Table(
    ["run", "search", "mode", "WER %"],
    [["a", "greedy", "windowed", "3.00"], ["b|c", "greedy", "windowed", "3.00"]],
)


def test_figures_stand_to_the_right_and_bars_in_cells_are_escaped() -> None:
    assert to_markdown(TABLE).splitlines() == [
        "| run  | search | mode     | WER % |",
        "| ---- | ------ | -------- | ----: |",
        "| a    | greedy | windowed |  3.00 |",
        "| b\\|c | greedy | windowed |  3.00 |",
    ]


def test_columns_without_a_difference_are_taken_out_but_for_rates_and_those_to_keep() -> None:
    table, same = without_constants(TABLE, keep=["mode"])
    assert table.head == ["run", "mode", "WER %"] and same == {"search": "greedy"}
    assert table.rows == [["a", "windowed", "3.00"], ["b|c", "windowed", "3.00"]]
    one = Table(TABLE.head, TABLE.rows[:1])
    assert without_constants(one, keep=[]) == (one, {})
