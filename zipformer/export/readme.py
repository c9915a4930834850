"""The README of an export: what it is, and the exact commands that run it in sherpa-onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zipformer.context import FRAME_MS, FRONTEND_LOOKAHEAD, Context
from zipformer.export.feeding import step_frames, tail_seconds
from zipformer.files import write_text

README = "README.txt"
NETWORKS = ("encoder", "decoder", "joiner")
EXPECTED = {"sample_rate": 16000, "feature_dim": 80}  # by sherpa-onnx, unless it is given others
FLAGS = {"sample_rate": "sample-rate", "feature_dim": "feat-dim"}
COMMON_TAIL = 0.8  # seconds of silence that sherpa-onnx's tools append by themselves


@dataclass(frozen=True)
class Export:
    """What the README is about.

    Args:
        context: That it works at; full for an offline one.
        sample_rate: In Hz.
        num_features: Mel filters.
        int8: Whether there are files with 8-bit weights.
        about: More to say at its head, such as a label of the model.
    """

    context: Context
    sample_rate: int = 16000
    num_features: int = 80
    int8: bool = False
    about: Mapping[str, str] = field(default_factory=dict)


def write(directory: Path, export: Export) -> None:
    """Writes the README of an export into its folder."""
    offline = export.context.is_full
    sections = _offline_sections(export) if offline else _streaming_sections(export)
    if export.int8:
        sections.append(
            "8-bit weights\n\n"
            "encoder.int8.onnx, decoder.int8.onnx and joiner.int8.onnx take the place of the\n"
            "files without int8, each by itself. The encoder holds nearly all of the weights."
        )
    write_text(Path(directory) / README, "\n\n".join(sections))


def append(directory: Path, lines: Sequence[str]) -> None:
    """Adds what a check of the export has found."""
    with (Path(directory) / README).open("a", encoding="utf-8") as file:
        file.write("\nChecked\n\n" + "".join(f"  {line}\n" for line in lines))


def _streaming_sections(export: Export) -> list[str]:
    context = export.context
    tail = f"{tail_seconds(context):.2f}"
    enough = "are enough" if tail_seconds(context) <= COMMON_TAIL else "are not enough"
    frames = step_frames(context)
    facts = {
        "step": f"{frames} frames ({frames * FRAME_MS} ms): chunk, right context and "
        f"{FRONTEND_LOOKAHEAD} of the frontend",
        "latency": f"{context.latency_ms} ms from the beginning of a chunk to its words",
        "tail padding": f"{tail} s",
    }
    # Half a second of silence in front, which is the default, would move all times.
    padding = ["--left-padding=0", f"--right-padding={tail}", "--enable-endpoint=false"]
    server = ["sherpa-onnx-online-websocket-server", "--port=6006", *_options(export)]
    return [
        "A streaming speech recognizer for sherpa-onnx",
        _facts(export, facts),
        "The end of the audio\n\n"
        f"sherpa-onnx hears whole steps only. Let at least {tail} s of silence follow the last\n"
        "sample, or the last words may be lost; longer does no harm. The 0.8 s that its tools\n"
        f"append by themselves {enough} here.",
        "A recording (wav of 16 bits, one channel)\n\n"
        + _command(["sherpa-onnx", *_options(export), *padding, "a.wav"]),
        "A server, and a client\n\n"
        + _command([*server, f"--end-tail-padding={tail}"])
        + "\n\n"
        + _command(["sherpa-onnx-online-websocket-client", "--server-port=6006", "a.wav"]),
        "At an endpoint, a pause of 1.2 s after words, the server ends a segment and searches\n"
        "anew. For the same words as one long utterance add --enable-endpoint=false.",
        "Python\n\n" + _streaming_python(export, tail),
    ]


def _offline_sections(export: Export) -> list[str]:
    return [
        "An offline speech recognizer for sherpa-onnx",
        _facts(export, {}),
        "A recording (wav of 16 bits, one channel)\n\n"
        + _command(["sherpa-onnx-offline", *_options(export), "a.wav"]),
        "Python\n\n" + _offline_python(export),
    ]


def _facts(export: Export, more: Mapping[str, str]) -> str:
    facts = {**export.about, "context": export.context.describe(), **more}
    facts["features"] = f"{export.num_features} mel filters at {export.sample_rate} Hz"
    width = max(map(len, facts)) + 2
    return "\n".join(f"{name + ':':{width}}{value}" for name, value in facts.items())


def _command(words: Sequence[str]) -> str:
    return " \\\n    ".join([f"  {words[0]}", *words[1:]])


def _options(export: Export) -> list[str]:
    files = [f"--{name}={name}.onnx" for name in NETWORKS]
    special = [f"--{FLAGS[name]}={value}" for name, value in _special(export).items()]
    return [*files, "--tokens=tokens.txt", *special]


def _arguments(export: Export) -> str:
    files = [f'{name}="{name}.onnx"' for name in NETWORKS]
    special = [f"{name}={value}" for name, value in _special(export).items()]
    return ", ".join([*files, 'tokens="tokens.txt"', *special])


def _special(export: Export) -> dict[str, int]:
    """What sherpa-onnx must be given."""
    settings = {"sample_rate": export.sample_rate, "feature_dim": export.num_features}
    return {name: value for name, value in settings.items() if value != EXPECTED[name]}


def _streaming_python(export: Export, tail: str) -> str:
    return f"""\
  import numpy as np, sherpa_onnx, soundfile

  recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
      {_arguments(export)}
  )
  samples, rate = soundfile.read("a.wav", dtype="float32")
  stream = recognizer.create_stream()
  stream.accept_waveform(rate, samples)
  stream.accept_waveform(rate, np.zeros(int({tail} * rate), dtype=np.float32))
  stream.input_finished()
  while recognizer.is_ready(stream):
      recognizer.decode_stream(stream)
  print(recognizer.get_result(stream))"""


def _offline_python(export: Export) -> str:
    return f"""\
  import sherpa_onnx, soundfile

  recognizer = sherpa_onnx.OfflineRecognizer.from_transducer(
      {_arguments(export)}
  )
  samples, rate = soundfile.read("a.wav", dtype="float32")
  stream = recognizer.create_stream()
  stream.accept_waveform(rate, samples)
  recognizer.decode_stream(stream)
  print(stream.result.text)"""
