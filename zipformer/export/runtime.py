"""An export in onnxruntime, with the interface that searches and streams know from a model.

It hears as sherpa-onnx does: whole steps only, of audio with silence after it.

Letters: B streams or utterances, T frames of a step or an utterance, J joiner dimension, V
vocabulary, P what the encoder's graph gives: J with a transducer, V with a CTC head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.context import FRAMES_PER_OUTPUT, Context
from zipformer.data.features import extract
from zipformer.export import feeding, states
from zipformer.export.models import CTC, DECODER, ENCODER, JOINER, TOKENS
from zipformer.export.onnx_file import form_path, require_onnx
from zipformer.export.options import Form
from zipformer.nn.state import EncoderState
from zipformer.search import Search, make_searcher
from zipformer.search.protocol import Hypothesis
from zipformer.tokens.symbol_table import read_tokens


class OnnxModel:
    """The files of an export; searches take it for the heads of a model.

    Args:
        directory: That ``export_streaming`` or ``export_offline`` wrote.
        form: Which of the files to take.
        num_threads: Of each network.

    Raises:
        FileNotFoundError: If one of the files is missing, naming it.
        ImportError: If the packages of the extra ``export`` are missing.
    """

    predictor: OnnxPredictor | None = None
    joiner: OnnxJoiner | None = None
    ctc_output: nn.Module | None = None
    attention_decoder: ClassVar[None] = None

    def __init__(self, directory: Path, form: Form = "float32", num_threads: int = 1) -> None:
        require_onnx()
        ctc = (Path(directory) / CTC).is_file()
        names = (CTC,) if ctc else (ENCODER, DECODER, JOINER)
        paths = [form_path(Path(directory) / name, form) for name in names]
        for path in (*paths, Path(directory) / TOKENS):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing: export the model anew")
        encoder, *others = (_File(path, num_threads) for path in paths)
        streams = "T" in encoder.metadata
        self.encoder = OnnxEncoder(encoder) if streams else OnnxOfflineEncoder(encoder)
        if ctc:
            self.ctc_output = nn.Identity()  # the graph of the encoder ends with the head
        else:
            self.predictor, self.joiner = OnnxPredictor(others[0]), OnnxJoiner(others[1])
        self.sample_rate = int(encoder.metadata["sample_rate"])
        self.num_features = int(encoder.inputs[0].shape[2])
        self.tokens = read_tokens(Path(directory) / TOKENS)

    def features(self, samples: Tensor | np.ndarray) -> Tensor:
        """(N,) samples -> (T, num_features); silence follows where the encoder streams."""
        wave = torch.as_tensor(samples, dtype=torch.float32)
        if isinstance(self.encoder, OnnxEncoder):
            tail = feeding.tail_seconds(self.encoder.context) * self.sample_rate
            wave = F.pad(wave, (0, round(tail)))
        return extract(wave, self.sample_rate, self.num_features)

    def decode(
        self, audio: Sequence[Tensor | np.ndarray], search: Search | None = None
    ) -> list[Hypothesis]:
        """What is heard in recordings, each (N,) samples; all in one batch."""
        features = [self.features(samples) for samples in audio]
        lengths = torch.tensor([len(frames) for frames in features])
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
        out, out_lengths = self.encoder(padded, lengths)
        return make_searcher(self, self.tokens, search).decode(out, out_lengths)


class OnnxEncoder:
    """A streaming encoder; its outputs are projected for the joiner, or CTC's log-probabilities."""

    def __init__(self, file: _File) -> None:
        self._file = file
        self.context = Context.parse(file.metadata["context"])

    def initial_state(self, batch_size: int) -> EncoderState:
        """Of streams that have heard nothing, as sherpa-onnx makes it: zeros."""
        return states.from_list(self._file.zeros(batch_size)[1:], states.FRONTEND_CHANNELS)

    def step(self, features: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """(B, C + R + 13, num_features) -> (B, C / 4, P), and the new state."""
        out, *after = self._file.run(features, *states.to_list(state))
        return out, states.from_list(after, states.FRONTEND_CHANNELS)

    def __call__(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Takes all steps of (B, T, num_features), (B,) valid -> (B, T', P), (B,)."""
        size, chunk = feeding.step_frames(self.context), self.context.chunk
        steps = torch.tensor([feeding.num_steps(self.context, int(n)) for n in lengths])
        state, outputs = self.initial_state(len(features)), []
        for start in range(0, int(steps.max()) * chunk, chunk):
            window = features[:, start : start + size]
            out, state = self.step(F.pad(window, (0, 0, 0, size - window.shape[1])), state)
            outputs.append(out)
        none = torch.zeros(len(features), 0, self._file.outputs[0].shape[2])
        return torch.cat([none, *outputs], dim=1), steps * (chunk // FRAMES_PER_OUTPUT)


class OnnxOfflineEncoder:
    """An encoder of whole utterances; its outputs are those of ``OnnxEncoder``."""

    def __init__(self, file: _File) -> None:
        self._file = file

    def __call__(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, num_features), (B,) valid -> (B, T', P), (B,)."""
        out, out_lengths = self._file.run(features, lengths)
        return out, out_lengths


class OnnxPredictor:
    """The predictor with the joiner's projection, for searches."""

    def __init__(self, file: _File) -> None:
        self._file = file
        self.context_size = int(file.metadata["context_size"])
        self.blank_id = 0

    def __call__(self, tokens: Tensor, pad: bool = True) -> Tensor:
        """(B, context size) -> (B, 1, J)."""
        assert not pad, "the graph takes one context"
        return self._file.run(tokens)[0].unsqueeze(1)


class OnnxJoiner:
    """The joiner for searches; what it is given is projected already."""

    def __init__(self, file: _File) -> None:
        self._file = file

    @property
    def device(self) -> torch.device:
        """The CPU, where its inputs and outputs are."""
        return torch.device("cpu")

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        """Nothing is left to do."""
        return encoder_out

    def project_predictor(self, predictor_out: Tensor) -> Tensor:
        """Nothing is left to do."""
        return predictor_out

    def __call__(self, encoder_out: Tensor, predictor_out: Tensor, project: bool = True) -> Tensor:
        """(..., J) twice, broadcast against each other -> (..., V)."""
        pair = torch.broadcast_tensors(encoder_out, predictor_out)
        (logits,) = self._file.run(*(x.reshape(-1, x.shape[-1]) for x in pair))
        return logits.view(*pair[0].shape[:-1], -1)


class _File:
    """One network: tensors in and out by position."""

    def __init__(self, path: Path, num_threads: int) -> None:
        import onnxruntime

        from zipformer.export.graph import session_options

        self._session = onnxruntime.InferenceSession(
            str(path), session_options(num_threads), providers=["CPUExecutionProvider"]
        )
        self.inputs: list[onnxruntime.NodeArg] = self._session.get_inputs()
        self.outputs: list[onnxruntime.NodeArg] = self._session.get_outputs()
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, *tensors: Tensor) -> list[Tensor]:
        feed = {
            spec.name: np.ascontiguousarray(tensor.numpy())
            for spec, tensor in zip(self.inputs, tensors, strict=True)
        }
        return [torch.from_numpy(value) for value in self._session.run(None, feed)]

    def zeros(self, batch_size: int) -> list[Tensor]:
        """Inputs of the right shapes and types."""
        return [
            torch.zeros(
                [size if isinstance(size, int) else batch_size for size in spec.shape],
                dtype=torch.int64 if spec.type == "tensor(int64)" else torch.float32,
            )
            for spec in self.inputs
        ]
