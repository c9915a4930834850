"""The check of an export passes what is equal and catches what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from export.conftest import INT8
from onnx import numpy_helper
from trained_digits import read_strings, trained

from zipformer.context import Context
from zipformer.export.check import LIMIT, Check, check
from zipformer.export.feeding import num_steps, step_frames, tail_seconds
from zipformer.export.runtime import OnnxModel


@pytest.fixture
def audio(digit_strings: Path) -> list[np.ndarray]:
    return [cut.load_audio()[0] for cut in read_strings(digit_strings)[:3]]


@pytest.mark.parametrize("context", [INT8, Context.full()], ids=str)
def test_an_export_of_a_trained_model_passes_on_real_speech(
    exported: Callable, audio: list[np.ndarray], context: Context
) -> None:
    result = check(trained().model, exported(context), audio)
    assert result.passed and result.utterances == result.same_tokens == 3
    assert 0 < result.encoder < LIMIT / 10 and 0 < result.joiner < LIMIT / 10
    assert (result.state == 0) == context.is_full


def test_one_number_that_is_off_in_one_file_is_found(
    exported: Callable, audio: list[np.ndarray], tmp_path: Path
) -> None:
    shutil.copytree(exported(INT8), tmp_path / "x")
    for name, part in (("joiner", "joiner"), ("decoder", "predictor")):
        whole = (tmp_path / "x" / f"{name}.onnx").read_bytes()
        model = onnx.load_from_string(whole)
        tensor = model.graph.initializer[0]
        values = numpy_helper.to_array(tensor).copy()
        values.flat[0] += 0.5
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(model, tmp_path / "x" / f"{name}.onnx")
        result = check(trained().model, tmp_path / "x", audio)
        (tmp_path / "x" / f"{name}.onnx").write_bytes(whole)
        assert getattr(result, part) > LIMIT and not result.passed, name


def test_results_add_up_to_the_worst_of_them() -> None:
    total = Check(2, 2, 1e-6, 3e-4, 0.0, 0.0) + Check(1, 0, 2e-6, 1e-5, 1e-7, 1e-2)
    assert total == Check(3, 2, 2e-6, 3e-4, 1e-7, 1e-2)
    assert total.max_error == 1e-2 and not total.passed
    assert Check(1, 1, encoder=LIMIT).passed and not Check(2, 1).passed
    assert "same tokens in 2 of 3" in str(total)


def test_steps_are_taken_while_more_frames_wait_than_go_into_one() -> None:
    context = Context(32, 256, 64)
    assert step_frames(context) == 109 and tail_seconds(context) == 1.1
    counts = {frames: num_steps(context, frames) for frames in (0, 109, 110, 141, 142, 205)}
    assert counts == {0: 0, 109: 0, 110: 1, 141: 1, 142: 2, 205: 3}


@pytest.mark.parametrize("num_frames", range(9, 80))
def test_after_the_tail_every_output_of_the_audio_was_given(num_frames: int) -> None:
    for context in (Context(32, 256, 0), Context(64, 256, 64)):
        heard = num_steps(context, num_frames + round(100 * tail_seconds(context)))
        assert heard * context.chunk // 4 >= ((num_frames - 7) // 2 + 1) // 2


def test_a_missing_file_is_named(exported: Callable) -> None:
    with pytest.raises(FileNotFoundError, match=r"encoder\.int8\.onnx is missing"):
        OnnxModel(exported(Context(32, 256, 0)), "int8")
