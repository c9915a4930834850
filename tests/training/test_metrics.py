"""The figures of a run are written once, and read well."""

from __future__ import annotations

import io
import logging
import math
from pathlib import Path

import pytest
import torch

from zipformer.config import TrainConfig
from zipformer.context import Context
from zipformer.training.console import Console, logging_to
from zipformer.training.distributed import Processes
from zipformer.training.metrics import (
    LossWindow,
    MetricsWriter,
    SpeedMeter,
    format_train,
    format_valid,
    read_metrics,
    train_record,
    valid_record,
)
from zipformer.training.state import TrainState, seed_step

DRAWN = {"lr": 0.02, "grad_norm": 3.0, "context": "32/256/64", "right_mode": "masked"}


def test_window_gives_means_per_frame_and_starts_anew() -> None:
    window = LossWindow(Processes())
    window.add({"loss": torch.tensor(6.0), "frames": torch.tensor(2)})
    window.add({"loss": torch.tensor(9.0), "frames": torch.tensor(4)})
    assert window.take() == {"loss": 2.5}
    window.add({"loss": torch.tensor(1.0), "frames": torch.tensor(1)})
    assert window.take() == {"loss": 1.0}
    assert window.take() == {}


def test_window_keeps_the_losses_of_contexts_apart() -> None:
    window = LossWindow(Processes())
    steps = [(Context(32, 256, 64), 6.0), (Context(32, 256, 0), 2.0), (Context.full(), 1.0)]
    for context, loss in steps:
        window.add({"loss": torch.tensor(loss), "frames": torch.tensor(2)}, context)
    assert window.take() == {
        "loss": 1.5,
        "loss/chunk 32": 2.0,
        "loss/right 64": 3.0,
        "loss/right 0": 1.0,
        "loss/full": 0.5,
    }


def test_window_gives_the_mean_over_steps_of_what_is_counted() -> None:
    window = LossWindow(Processes())
    for value in (1.0, 0.0, 0.0, 1.0):
        window.count("clipped", value)
    assert window.take() == {"clipped": 0.5}


def test_window_survives_a_checkpoint() -> None:
    values = [torch.rand(()) for _ in range(9)]
    straight, first, second = (
        LossWindow(Processes()),
        LossWindow(Processes()),
        LossWindow(Processes()),
    )
    for value in values:
        straight.add({"loss": value, "frames": torch.tensor(3)})
    for value in values[:4]:
        first.add({"loss": value, "frames": torch.tensor(3)})
    second.load_state_dict(first.state_dict())
    for value in values[4:]:
        second.add({"loss": value, "frames": torch.tensor(3)})
    assert second.take() == straight.take()


def test_what_comes_after_the_checkpoint_is_taken_out(tmp_path: Path) -> None:
    state = TrainState(step=20, valid_step=15)
    writer = MetricsWriter(tmp_path, TrainState(step=40, valid_step=40), tensorboard=False)
    for step in (10, 20, 30):
        writer.write({"kind": "train", "step": step})
        writer.write({"kind": "valid", "step": step})
    writer.close()
    MetricsWriter(tmp_path, state, tensorboard=False).close()
    kept = [(r["kind"], r["step"]) for r in read_metrics(tmp_path / "metrics.jsonl")]
    assert kept == [("train", 10), ("valid", 10), ("train", 20)]


def test_records_are_json_even_when_nothing_is_known(tmp_path: Path) -> None:
    state = TrainState(step=1)
    drawn = DRAWN | {"grad_norm": float("nan")}
    record = train_record(state, {}, drawn, 0.0, SpeedMeter(0.0, 0.0))
    assert "loss nan" in format_train(record)
    assert math.isinf(record["eta_seconds"])
    writer = MetricsWriter(tmp_path, state, tensorboard=False)
    writer.write(record)
    writer.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "Infinity" not in text and "NaN" not in text
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["eta_seconds"] is None


def test_line_says_what_a_person_wants_to_know() -> None:
    state = TrainState(epoch=3, step=120, audio_seconds=7200.0, skipped=2)
    record = train_record(state, {"loss": 0.5, "ctc": 2.0}, DRAWN, 0.25, SpeedMeter(0.0, 0.0))
    record |= {"hours_per_hour": 38.2, "eta_seconds": 3725.0}
    assert format_train(record) == (
        "step 120 (25.0 %, epoch 3)  loss 0.5 (ctc 2)  lr 0.02  context 32/256/64 masked  "
        "38 h audio/h  ETA 1:02:05  skipped 2"
    )
    lines = format_valid(valid_record(state, {"loss": 0.25, "wer full": 7.5}))
    assert lines == ["validation at step 120 (epoch 3): loss 0.25  wer full 7.5"]


def test_share_done_is_by_audio_or_by_steps_whichever_ends_first() -> None:
    state = TrainState(step=10, audio_seconds=50.0)
    assert state.done(TrainConfig(num_epochs=4), epoch_seconds=100.0) == 0.125
    assert state.done(TrainConfig(num_epochs=4, max_steps=20), epoch_seconds=100.0) == 0.5
    assert state.done(TrainConfig(num_epochs=4), epoch_seconds=0.0) == 0.0
    later = TrainState(epoch=3, step=30, audio_seconds=125.0, epoch_start_seconds=100.0)
    assert later.done(TrainConfig(num_epochs=5), epoch_seconds=9e9) == 0.5
    assert TrainState(epoch=6).done(TrainConfig(num_epochs=5), 100.0) == 1.0


def test_unknown_counters_are_refused() -> None:
    state = TrainState(step=3).state_dict()
    with pytest.raises(ValueError, match="colour"):
        TrainState().load_state_dict(state | {"colour": 1})
    del state["step"]
    with pytest.raises(ValueError, match="step"):
        TrainState().load_state_dict(state)


def test_randomness_of_a_step_depends_on_seed_step_and_rank_only() -> None:
    def draw(*key: int) -> tuple[float, ...]:
        seed_step(*key)
        return tuple(torch.rand(3).tolist())

    keys = [(1, 0), (1, 1), (2, 0), (0, 1), (1, 0, 1)]
    drawn = [draw(*key) for key in keys]
    assert len(set(drawn)) == len(keys)
    assert drawn == [draw(*key) for key in keys]


def test_bar_is_drawn_on_a_terminal_and_gives_way_to_log_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    with logging_to(tmp_path) as console:
        console.bar(0.5, "step 10")
        console.bar(0.6, "step 11")  # too soon to be drawn
        logging.getLogger("zipformer.training").info("a line")
    shown = terminal.getvalue()
    assert "[############............]  50 % step 10" in shown and "step 11" not in shown
    assert shown.index("step 10") < shown.index("\r\x1b[K", 5) < shown.index("a line")
    assert (tmp_path / "log.txt").read_text().endswith("INFO a line\n")


def test_no_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    Console().bar(0.5, "step 10")
    assert stream.getvalue() == ""
