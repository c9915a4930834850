"""An epoch is picked on the validation sets, once, and nothing else is looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import CONFIG, tiny_run, write_cuts, write_epochs

from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.config import RunConfig, ValidationConfig
from zipformer.context import Context
from zipformer.data.loader import eval_batches
from zipformer.evaluation import selection as module
from zipformer.evaluation.candidates import Candidate, Selection
from zipformer.evaluation.evaluate import decode_batches
from zipformer.evaluation.scoring import total_errors
from zipformer.evaluation.selection import Grid, select, selection_context

GRID = Grid(epochs=2, averages=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs with one validation set; its test set is not there."""
    folder = tmp_path_factory.mktemp("run")
    dev = write_cuts(folder, "dev", ["one two three four five", "six"])
    missing = {"clean": folder / "test.jsonl.gz"}
    write_epochs(folder, tiny_run(folder, valid=(dev,), test=missing), 3)
    return folder


@pytest.fixture
def fresh(run: Path) -> Path:
    """The same, without an earlier selection."""
    (run / "decode" / "selection.json").unlink(missing_ok=True)
    return run


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """(epoch, average) of every model that is loaded."""
    seen: list[tuple[int, int]] = []

    def counted(exp_dir: Path, epoch: int, avg: int, *rest: object) -> LoadedModel:
        seen.append((epoch, avg))
        return load_model(exp_dir, epoch, avg, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "load_model", counted)
    yield seen


def dev_errors(run: Path, epoch: int, avg: int, context: Context) -> int:
    loaded = load_model(run, epoch, avg)
    (path,) = loaded.config.data.valid
    batches = eval_batches(path, loaded.tokenizer, loaded.config.data)
    return total_errors(decode_batches(loaded, batches, context).utterances).errors


def candidate(epoch: int, avg: int, errors: int) -> Candidate:
    return Candidate(epoch, avg, errors, 100, "said", {}, None)


def test_every_candidate_of_the_grid_is_decoded_at_the_validation_context(fresh: Path) -> None:
    selection = select(fresh, GRID)
    found = {(c.epoch, c.avg): c.errors for c in selection.candidates}
    assert found == {
        pair: dev_errors(fresh, *pair, Context(32, 256, 64))
        for pair in ((3, 1), (3, 2), (2, 1), (2, 2))
    }
    assert len(set(found.values())) > 1, "the candidates must differ to prove anything"
    assert selection.picked.errors == min(found.values())


def test_the_file_says_what_was_picked_and_why(fresh: Path) -> None:
    selection = select(fresh, replace(GRID, context=Context.full(), cuts=1))
    content = json.loads((fresh / "decode" / "selection.json").read_text())
    best = selection.picked
    assert content["picked"] == {"epoch": best.epoch, "avg": best.avg, "wer": round(best.wer, 4)}
    assert content["complete"] is True
    assert content["why"] == (
        f"epoch {best.epoch}, avg {best.avg} has the lowest WER, {best.wer:.2f} %, of 4 candidates "
        "on the validation sets dev.jsonl.gz (the first 1 cuts of each) at context full, greedy, "
        "windowed"
    )
    assert [c["wer"] for c in content["candidates"]] == [
        round(100 * c.errors / c.words, 4) for c in selection.candidates
    ]
    assert {c.words for c in selection.candidates} == {5}
    assert content["question"]["context"] == "full" and content["question"]["cuts"] == 1
    assert "git_commit" in content and list(content["question"]["sets"]) == [
        str(fresh / "dev.jsonl.gz")
    ]


def test_asked_again_nothing_is_decoded_again(fresh: Path, loads: list[tuple[int, int]]) -> None:
    first = select(fresh, GRID)
    assert len(loads) == 4
    assert select(fresh, GRID) == first and len(loads) == 4
    wider = select(fresh, replace(GRID, epochs=3))
    assert loads[4:] == [(1, 1)] and len(wider.candidates) == 5


def test_a_new_checkpoint_another_context_or_set_is_decoded_anew(
    fresh: Path, loads: list[tuple[int, int]]
) -> None:
    select(fresh, GRID)
    os.utime(fresh / "epoch-1.pt")
    loads.clear()
    select(fresh, GRID)
    assert sorted(loads) == [(2, 1), (2, 2), (3, 2)]  # those whose average begins at epoch 1
    for changed in (replace(GRID, context=Context.full()), replace(GRID, cuts=1)):
        loads.clear()
        select(fresh, changed)
        assert len(loads) == 4
    os.utime(fresh / "dev.jsonl.gz")
    loads.clear()
    select(fresh, replace(GRID, cuts=1))
    assert len(loads) == 4


def test_who_stops_it_keeps_what_was_tried(
    fresh: Path, loads: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = module._try

    def stopped(*args: object) -> Candidate:
        if len(loads) == 3:
            raise KeyboardInterrupt
        return tried(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_try", stopped)
        select(fresh, GRID)
    assert json.loads((fresh / "decode" / "selection.json").read_text())["complete"] is False
    loads.clear()
    select(fresh, GRID)
    assert loads == [(2, 1), (2, 2)]


def test_a_damaged_file_is_not_believed(fresh: Path) -> None:
    grid = Grid(epochs=1, averages=1)
    first = select(fresh, grid)
    path = fresh / "decode" / "selection.json"
    for content in ("{", "[]", '{"question": {}}', path.read_text().replace('"epoch"', '"e"')):
        path.write_text(content)
        assert select(fresh, grid) == first


def test_one_epoch_or_one_average_can_be_held(fresh: Path) -> None:
    def pairs(grid: Grid) -> list[tuple[int, int]]:
        return sorted((c.epoch, c.avg) for c in select(fresh, grid).candidates)

    assert pairs(Grid(epoch=2)) == [(2, 1), (2, 2)]
    assert pairs(Grid(avg=2)) == [(2, 2), (3, 2)]
    assert pairs(Grid(epochs=1, averages=9)) == [(3, 1), (3, 2), (3, 3)]


def test_of_equal_candidates_it_is_the_later_epoch_then_the_larger_average() -> None:
    equal = [candidate(2, 3, 7), candidate(3, 1, 7), candidate(3, 2, 7), candidate(4, 1, 8)]
    picked = Selection({}, equal, {}).picked
    assert (picked.epoch, picked.avg) == (3, 2)


def test_the_table_has_a_star_at_the_one_picked() -> None:
    table = Selection({}, [candidate(4, 1, 8), candidate(3, 1, 9), candidate(4, 3, 7)], {}).table()
    assert table.head == ["epoch", "avg 1: WER %", "avg 3: WER %"]
    assert table.rows == [["3", "9.00", "-"], ["4", "8.00", "* 7.00"]]


@pytest.mark.parametrize(
    "contexts,wanted",
    [
        (("full", "32/256/0", "64/256/64", "32/256/64"), "64/256/64"),
        (("full", "32/256/0"), "32/256/0"),
        (("full", "32/inf/64"), "full"),
        ((), "full"),
    ],
)
def test_the_context_is_the_first_that_streams_with_look_ahead(
    contexts: tuple[str, ...], wanted: str
) -> None:
    config = replace(RunConfig(), validation=ValidationConfig(contexts=contexts))
    assert str(selection_context(config)) == wanted


def test_what_cannot_be_averaged_is_left_out_with_its_reason(tmp_path: Path) -> None:
    dev = write_cuts(tmp_path, "dev", ["one two three"])
    write_epochs(tmp_path, tiny_run(tmp_path, valid=(dev,)), 3)
    (tmp_path / "epoch-2.pt").unlink()
    lines: list[str] = []
    found = select(tmp_path, Grid(averages=3), use_averaged_model=False, report=lines.append)
    assert [(c.epoch, c.avg) for c in found.candidates] == [(1, 1)]
    assert list(found.left_out) == ["epoch 3, avg 2", "epoch 3, avg 3"]
    assert "epoch 3, avg 2: left out" in lines[0] and "epoch-2.pt does not exist" in lines[0]


def test_without_validation_sets_or_epochs_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no epoch-N\.pt"):
        select(tmp_path)
    loaded = tiny_run(tmp_path)
    write_epochs(tmp_path, loaded, 2)
    with pytest.raises(ValueError, match=r"data\.valid .* is empty"):
        select(tmp_path)
    with pytest.raises(FileNotFoundError, match="epoch-7.pt does not exist"):
        select(tmp_path, Grid(epoch=7))
    with pytest.raises(ValueError, match="can be averaged over"):
        select(tmp_path, Grid(avg=5))
    with pytest.raises(ValueError, match="at least one epoch"):
        select(tmp_path, Grid(epochs=0))
    with pytest.raises(ValueError, match="is one checkpoint"):
        select(tmp_path / "epoch-1.pt")
    data = replace(loaded.config.data, valid=(tmp_path / "dev.jsonl.gz",))
    write_epochs(tmp_path, replace(loaded, config=replace(CONFIG, data=data)), 1)
    with pytest.raises(FileNotFoundError, match=r"dev\.jsonl\.gz not found"):
        select(tmp_path, Grid(epoch=1))
