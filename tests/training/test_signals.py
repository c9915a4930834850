"""A stop loses nothing, also when it reaches the workers that read the data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch import nn
from training.tiny_task import TinyTask, tiny_config

from zipformer.checkpoint import files as checkpoint
from zipformer.training.loop import fit
from zipformer.training.signals import Interrupted, StopSignals

ROOT = Path(__file__).parents[2]

WITH_WORKERS = """
import sys
from pathlib import Path
from torch.utils.data import DataLoader, IterableDataset
from training.tiny_task import TinyLoader, TinyTask, tiny_config
from zipformer.training.loop import fit

class Batches(IterableDataset):
    def __init__(self, epoch, start):
        self.epoch, self.start = epoch, start
    def __iter__(self):
        return TinyLoader(100_000).epoch(self.epoch, self.start)

class Loader:
    def epoch(self, epoch, start_step=0):
        dataset = Batches(epoch, start_step)
        return iter(DataLoader(dataset, batch_size=None, num_workers=1))

class Task(TinyTask):
    def build_loader(self, share):
        return Loader()

fit(tiny_config(Path(sys.argv[1]), save_every=0, valid_every=0), Task(pause=0.01))
"""


def test_signal_to_the_whole_process_group_saves_and_exits_0(tmp_path: Path) -> None:
    paths = [str(ROOT), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_WORKERS, str(tmp_path)],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = tmp_path / "log.txt"
    while process.poll() is None and not (log.exists() and "step 8 (" in log.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "stopped by SIGTERM" in output
    saved = checkpoint.newest(tmp_path)
    assert saved is not None
    assert checkpoint.load(saved)["state"]["step"] >= 8


class WarnedTask(TinyTask):
    """The signal comes while the model is built."""

    def build_model(self) -> nn.Module:
        os.kill(os.getpid(), signal.SIGTERM)
        return super().build_model()


def test_a_signal_before_the_first_step_says_that_nothing_was_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny_config(tmp_path), WarnedTask())
    assert checkpoint.newest(tmp_path) is None
    last = caplog.messages[-1]
    assert "stopped by SIGTERM before the first step: nothing was saved" in last
    fit(tiny_config(tmp_path, max_steps=1), TinyTask())
    fit(tiny_config(tmp_path), WarnedTask())  # with something saved, by another start
    assert "step 1 (epoch 1, batch 1" in caplog.messages[-1]
    assert "stopped by SIGTERM and saved" in caplog.messages[-1]


def test_items_end_when_a_stop_is_asked_for() -> None:
    with StopSignals() as stop:
        passed = []
        for item in stop.until_stopped(iter(range(10))):
            passed.append(item)
            if item == 3:
                os.kill(os.getpid(), signal.SIGUSR1)
        assert passed == [0, 1, 2, 3]
        assert stop.received == signal.SIGUSR1


def test_second_interrupt_does_not_wait() -> None:
    with StopSignals() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)


def test_stop_ends_interruptible_work_only() -> None:
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)  # outside: only noted
        with pytest.raises(Interrupted), stop.interruptible():
            raise AssertionError("must not begin after a stop")
    with StopSignals() as stop, pytest.raises(Interrupted), stop.interruptible():
        os.kill(os.getpid(), signal.SIGTERM)


def test_failing_worker_is_an_error_unless_a_stop_was_asked_for() -> None:
    def failing() -> object:
        raise RuntimeError("worker died")
        yield

    with StopSignals() as stop:
        with pytest.raises(RuntimeError, match="worker died"):
            list(stop.until_stopped(failing()))
        os.kill(os.getpid(), signal.SIGTERM)
        assert list(stop.until_stopped(failing())) == []


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in StopSignals.signals]
    with StopSignals():
        assert [signal.getsignal(number) for number in StopSignals.signals] != before
    assert [signal.getsignal(number) for number in StopSignals.signals] == before
