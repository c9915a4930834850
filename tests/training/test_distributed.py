"""Several processes train one model: the same as one process with all of their batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training.runs import ROOT, records, same, stripped
from training.tiny_corpus import write_corpus
from training.together import (
    JoinedTask,
    asr_config,
    fit_in_trouble,
    fit_speech,
    fit_stopped,
    fit_tiny,
    fit_twice,
    run_together,
)

from zipformer.checkpoint import files as checkpoint
from zipformer.training.distributed import Processes
from zipformer.training.loop import fit


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that takes two batches a step."""
    exp_dir = tmp_path_factory.mktemp("alone")
    fit_tiny(exp_dir, accumulate=2)
    return exp_dir


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def test_two_processes_equal_one_that_accumulates_bit_for_bit(tmp_path: Path, alone: Path) -> None:
    """Dropout included: what is drawn hangs on the batch, not on the process."""
    run_together(fit_tiny, 2, tmp_path)
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(alone / "epoch-3.pt")
    for part in ("optimizer", "average", "scheduler", "state"):
        assert same(ours[part], theirs[part]), part
    window = {name: value.item() for name, value in theirs["window"].items()}
    assert {n: v.item() for n, v in ours["window"].items()} == pytest.approx(window)
    weights = {n: w for n, w in ours["model"].items() if n != "calls"}  # of rank 0 alone
    assert same(weights, {n: theirs["model"][n] for n in weights})
    for line, other in zip(records(tmp_path), records(alone), strict=True):
        numbers = {name: value for name, value in other.items() if not isinstance(value, str)}
        assert {name: line[name] for name in numbers} == pytest.approx(numbers, rel=1e-6)


def test_the_same_processes_may_train_twice(tmp_path: Path) -> None:
    run_together(fit_twice, 2, tmp_path / "one", tmp_path / "other")
    ours, theirs = (stripped(tmp_path / name / "checkpoint-2.pt") for name in ("one", "other"))
    assert same(ours["optimizer"], theirs["optimizer"])


def test_two_processes_equal_one_with_their_batches_joined(tmp_path: Path, corpus: Path) -> None:
    """A real recognizer, without what is random or adapts: parameters after some steps."""
    joined = asr_config(corpus, tmp_path / "joined", max_steps=4)
    fit(joined, JoinedTask(joined))
    run_together(fit_speech, 2, corpus, tmp_path / "pair", True, {"max_steps": 4})
    ours, theirs = (
        checkpoint.load(tmp_path / name / "checkpoint-4.pt") for name in ("pair", "joined")
    )
    start = AsrWeights.initial(corpus)
    for name, weight in ours["model"].items():
        torch.testing.assert_close(weight, theirs["model"][name], rtol=1e-5, atol=1e-6)
    moved = [not torch.allclose(w, start[n], atol=1e-3) for n, w in ours["model"].items()]
    assert sum(moved) > len(moved) // 2
    losses = [[r["loss"] for r in records(tmp_path / name)] for name in ("pair", "joined")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert ours["state"]["audio_seconds"] == pytest.approx(theirs["state"]["audio_seconds"])


class AsrWeights:
    @staticmethod
    def initial(corpus: Path) -> dict[str, torch.Tensor]:
        config = asr_config(corpus, corpus)
        torch.manual_seed(config.train.seed)
        return JoinedTask(config).build_model().state_dict()


def test_stopped_and_resumed_run_of_two_equals_a_straight_one_of_one(
    tmp_path: Path, corpus: Path
) -> None:
    """Everything on, with what regularizers remember of every batch; validation too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two have
    fit_speech(corpus, tmp_path / "straight", False, {"valid_every": 2, "accumulate": 2})
    torch.set_num_threads(threads)
    parts = tmp_path / "parts"
    for max_steps in (3, 0):
        train = {"valid_every": 2, "max_steps": max_steps}
        run_together(fit_speech, 2, corpus, parts, False, train)
    assert 3 in checkpoint.steps_in(parts)
    ours, theirs = (stripped(d / "epoch-2.pt") for d in (parts, tmp_path / "straight"))
    for part in ("model", "whitening", "optimizer", "average"):
        assert same(ours[part], theirs[part]), part
    one, other = ours["whitening"]["ranks"]
    assert one != other  # each batch of a step has its own
    assert ours["state"]["valid_loss"] == pytest.approx(theirs["state"]["valid_loss"])


def test_trouble_in_one_process_is_skipped_by_all_and_named(tmp_path: Path) -> None:
    run_together(fit_in_trouble, 2, tmp_path)
    weights = {s: stripped(tmp_path / f"checkpoint-{s}.pt")["model"] for s in range(1, 7)}
    for before in (2, 4):
        assert torch.equal(weights[before]["first.weight"], weights[before + 1]["first.weight"])
    assert not torch.equal(weights[5]["first.weight"], weights[6]["first.weight"])
    log = (tmp_path / "log.txt").read_text()  # of the process that had no trouble
    assert "step 3 skipped, memory ran out (1 in a row); cuts: cut-1-5-0" in log
    assert "step 5 skipped, its loss or gradients are not finite (1 in a row); cuts: cut-1-9" in log


def test_a_signal_to_one_process_stops_all_of_them_at_one_step(tmp_path: Path, alone: Path) -> None:
    run_together(fit_stopped, 2, tmp_path)
    assert checkpoint.steps_in(tmp_path)[-1] == 10
    run_together(fit_tiny, 2, tmp_path)
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(alone / "epoch-3.pt")
    assert same(ours["optimizer"], theirs["optimizer"])


def test_other_processes_with_as_many_batches_a_step_go_on_exactly(
    tmp_path: Path, alone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_together(fit_tiny, 2, tmp_path, None, *())
    for later in ("epoch-3.pt", "epoch-2.pt", "checkpoint-18.pt", "checkpoint-12.pt"):
        (tmp_path / later).unlink()
    fit_tiny(tmp_path, accumulate=2)
    assert "drawn anew" not in caplog.text
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(alone / "epoch-3.pt")
    assert same(ours["optimizer"], theirs["optimizer"])
    assert same(ours["state"], theirs["state"])


def test_another_number_of_batches_a_step_is_said_and_keeps_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit_tiny(tmp_path, accumulate=2, max_steps=3)
    fit_tiny(tmp_path, accumulate=1, max_steps=4)
    assert "steps had 2 batches" in caplog.text and "drawn anew" in caplog.text
    state = stripped(tmp_path / "checkpoint-4.pt")["state"]
    assert (state["step"], state["batch"], state["batches_per_step"]) == (4, 7, 1)


def test_processes_must_share_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="must be one folder that all machines share"):
        run_together(_fit_in_own_folder, 2, tmp_path)


def _fit_in_own_folder(folder: Path) -> None:
    rank = os.environ["RANK"]
    own = folder / rank
    if rank == "0":
        os.environ["WORLD_SIZE"] = "1"
        fit_tiny(own, max_steps=1)
        os.environ["WORLD_SIZE"] = "2"
    fit_tiny(own, max_steps=3)


ELASTIC = """
import os, signal, sys
from pathlib import Path
from training.tiny_task import TinyTask, tiny_config
from zipformer.training.loop import fit

class Task(TinyTask):
    def loss(self, model, batch, step):
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if first and os.environ["RANK"] == "1" and step.step == 16:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch, step)

fit(tiny_config(Path(sys.argv[1])), Task())
"""


@pytest.mark.long
def test_torchrun_restarts_after_a_killed_worker_and_training_goes_on_exactly(
    tmp_path: Path, alone: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(ELASTIC)
    exp_dir = tmp_path / "exp"
    paths = [str(ROOT), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    completed = subprocess.run(
        [*torchrun, "--nproc-per-node=2", "--max-restarts=3", script, exp_dir],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert "going on from" in (exp_dir / "log.txt").read_text()
    ours, theirs = stripped(exp_dir / "epoch-3.pt"), stripped(alone / "epoch-3.pt")
    for part in ("optimizer", "average", "state"):
        assert same(ours[part], theirs[part]), part


def test_one_process_is_what_there_is_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    processes = Processes.from_environment()
    assert processes == Processes(0, 1, 0) and processes.is_main
    assert processes.sum(1.5, 2.0) == [1.5, 2.0] and processes.any(True, False) == [True, False]
