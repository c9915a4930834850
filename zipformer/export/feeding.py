"""How sherpa-onnx feeds a streaming encoder, as far as whoever runs it must know.

It takes a step when more than T feature frames wait, and moves on by the chunk. When the input has
ended it does not flush: what does not fill a step is never heard, so that silence has to follow.
"""

from __future__ import annotations

from zipformer.context import FRAME_MS, FRONTEND_LOOKAHEAD, Context


def step_frames(context: Context) -> int:
    """T, the feature frames that go into a step: chunk, right context and the frontend's 13."""
    return context.window + FRONTEND_LOOKAHEAD


def tail_seconds(context: Context) -> float:
    """Silence after which every frame of an utterance has been in the chunk of some step.

    A frame more than T, as so many have to be exceeded; more does no harm.
    """
    return (step_frames(context) + 1) * FRAME_MS / 1000


def num_steps(context: Context, num_frames: int) -> int:
    """Steps that are taken of so many feature frames."""
    return max(0, -(-(num_frames - step_frames(context)) // context.chunk))
