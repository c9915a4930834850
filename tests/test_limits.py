"""What keeps the package readable and can be counted: sizes, repetition, types that say much."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "zipformer"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_FILE_LINES = 300
MOST_FUNCTION_LINES = 60  # docstrings not counted
BLOCK = 10  # so many equal lines in a row are a function that has not been written
# A type of which nothing is known cannot be checked. This number only goes down: whoever needs one
# more names what it is instead (a Protocol, a TypedDict, an alias), or does so somewhere else.
MOST_ANY = 27
# The same for places where the type checker is told to look away.
MOST_IGNORED = 8
# Ways to say that a thing is of a type without making it one.
PRETENCES = {"cast", "SimpleNamespace", "TYPE_CHECKING"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def names_in(path: Path) -> Iterator[str]:
    """Every name that the code of a file uses; imports count as uses of what they bring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def lines_of(function: Function) -> int:
    """From ``def`` to the end, without the docstring."""
    assert function.end_lineno is not None
    total = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is None or first.end_lineno is None:
        return total
    return total - (first.end_lineno - first.lineno + 1)


def code_of(path: Path) -> list[tuple[int, str]]:
    """Number and text of each line, without indentation, comments and blank lines."""
    lines = enumerate((line.strip() for line in path.read_text().splitlines()), start=1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_FILE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, Function)]
    long = {f.name: lines_of(f) for f in functions if lines_of(f) > MOST_FUNCTION_LINES}
    assert not long


def test_no_block_of_lines_stands_twice() -> None:
    places: dict[tuple[str, ...], tuple[Path, int]] = {}
    for path in FILES:
        code = code_of(path)
        for i in range(len(code) - BLOCK + 1):
            block = tuple(line for _, line in code[i : i + BLOCK])
            here = path.relative_to(PACKAGE), code[i][0]
            assert block not in places, f"{here} repeats {places[block]}"
            places[block] = here


def test_few_things_have_a_type_that_says_nothing() -> None:
    trees = [ast.parse(path.read_text()) for path in FILES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    count = sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)
    assert count <= MOST_ANY
    assert sum(path.read_text().count("# type: ignore") for path in FILES) <= MOST_IGNORED


def test_no_type_is_pretended() -> None:
    for path in FILES:
        assert not PRETENCES & set(names_in(path)), path
