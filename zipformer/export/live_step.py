"""A recognizer's step in onnxruntime, which on a CPU is faster than PyTorch.

    recognizer = Recognizer.of(loaded, Context(32, 256, 64), prepare=OnnxSteps())

The graph is that of ``PackedStep``: a stream's state is one row, and the encodings of the right
context come out, too. It is written to a temporary file and forgotten with the recognizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from zipformer.export.onnx_file import Network, form_path, require_onnx, write
from zipformer.export.options import Form
from zipformer.streaming.packed_step import Encode, PackedStep, example_of

STREAMS = {0: "N"}


@dataclass(frozen=True)
class OnnxSteps:
    """Prepares steps for onnxruntime.

    Args:
        num_threads: Of a step; 0 is as many as there are cores.
        int8: Weights of 8 bits: a little faster, and not the same words.
    """

    num_threads: int = 0
    int8: bool = False

    def __call__(self, step: PackedStep) -> Encode:
        """The step as a graph for any number of streams.

        Args:
            step: On the CPU.

        Raises:
            ImportError: If the packages of the extra ``export`` are missing.
        """
        require_onnx()
        import onnxruntime

        from zipformer.export.graph import session_options

        inputs = dict.fromkeys(("features", "packed", "processed"), STREAMS)
        outputs = dict.fromkeys(("out", "after"), STREAMS)
        network = Network(step.eval(), example_of(step), inputs, outputs)
        form: Form = "int8" if self.int8 else "float32"
        with TemporaryDirectory() as folder:
            path = Path(folder) / "step.onnx"
            write(network, path, [form])
            session = onnxruntime.InferenceSession(
                str(form_path(path, form)),
                session_options(self.num_threads),
                providers=["CPUExecutionProvider"],
            )

        def encode(features: Tensor, packed: Tensor, processed: Tensor) -> tuple[Tensor, Tensor]:
            tensors = zip(inputs, (features, packed, processed), strict=True)
            feed = {name: tensor.numpy() for name, tensor in tensors}
            out, after = session.run(None, feed)
            return torch.from_numpy(out), torch.from_numpy(after)

        return encode
