"""The README of an export: what it is, and the exact commands that run it in sherpa-onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zipformer.context import FRAME_MS, FRONTEND_LOOKAHEAD, Context
from zipformer.export.feeding import step_frames, tail_seconds
from zipformer.export.onnx_file import form_path
from zipformer.export.options import Form, Options
from zipformer.files import write_text

README = "README.txt"
NETWORKS = ("encoder", "decoder", "joiner")
FORMS: dict[Form, str] = {
    "float16": "half precision, for GPUs and processors that compute in it",
    "int8": "weights of 8 bits, mostly faster on a CPU",
}
LONG_MINUTES = 10  # of a recording, for which the memory of an offline graph is given
EXPECTED = {"sample_rate": 16000, "feature_dim": 80}  # by sherpa-onnx, unless it is given others
FLAGS = {"sample_rate": "sample-rate", "feature_dim": "feat-dim"}
COMMON_TAIL = 0.8  # seconds of silence that sherpa-onnx's tools append by themselves


@dataclass(frozen=True)
class Export:
    """What the README is about.

    Args:
        context: That it works at; full for an offline one.
        options: Which head, in which forms, and what to say of it at its head.
        num_features: Mel filters.
        attention_bytes: Of the largest tensor, for a recording of ``LONG_MINUTES``; offline alone.
    """

    context: Context
    options: Options = Options()
    num_features: int = 80
    attention_bytes: int = 0

    @property
    def networks(self) -> tuple[str, ...]:
        """The files, without their endings."""
        return NETWORKS if self.options.head == "transducer" else ("model",)


def write(directory: Path, export: Export) -> None:
    """Writes the README of an export into its folder."""
    offline = export.context.is_full
    sections = _offline_sections(export) if offline else _streaming_sections(export)
    if export.options.scores and export.options.head == "transducer":
        sections.append(_hotwords(export))
    if len(export.options.forms) > 1:
        sections.append(_smaller(export))
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
    server = ["sherpa-onnx-online-websocket-server", "--port=6006", *_flags(export)]
    return [
        "A streaming speech recognizer for sherpa-onnx",
        _facts(export, facts),
        "The end of the audio\n\n"
        f"sherpa-onnx hears whole steps only. Let at least {tail} s of silence follow the last\n"
        "sample, or the last words may be lost; longer does no harm. The 0.8 s that its tools\n"
        f"append by themselves {enough} here.",
        "A recording (wav of 16 bits, one channel)\n\n"
        + _command(["sherpa-onnx", *_flags(export), *padding, "a.wav"]),
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
        "How long a recording may be\n\n"
        "The memory for attention grows with the square of the length. The largest tensor alone\n"
        f"takes {export.attention_bytes / 1e9:.1f} GB for {LONG_MINUTES} minutes. Cut long "
        "recordings at pauses, or take a\nstreaming export.",
        "A recording (wav of 16 bits, one channel)\n\n"
        + _command(["sherpa-onnx-offline", *_flags(export), "a.wav"]),
        "Python\n\n" + _offline_python(export),
    ]


def _facts(export: Export, more: Mapping[str, str]) -> str:
    facts = {**export.options.about, "context": export.context.describe(), **more}
    facts["features"] = f"{export.num_features} mel filters at {export.options.sample_rate} Hz"
    width = max(map(len, facts)) + 2
    return "\n".join(f"{name + ':':{width}}{value}" for name, value in facts.items())


def _command(words: Sequence[str]) -> str:
    return " \\\n    ".join([f"  {words[0]}", *words[1:]])


def _flags(export: Export) -> list[str]:
    streams = not export.context.is_full
    ctc = "--zipformer2-ctc-model" if streams else "--zipformer-ctc-model"
    flag = {"model": ctc}
    files = [f"{flag.get(name, f'--{name}')}={name}.onnx" for name in export.networks]
    special = [f"--{FLAGS[name]}={value}" for name, value in _special(export).items()]
    return [*files, "--tokens=tokens.txt", *special]


def _arguments(export: Export) -> str:
    files = [f'{name}="{name}.onnx"' for name in export.networks]
    special = [f"{name}={value}" for name, value in _special(export).items()]
    return ", ".join([*files, 'tokens="tokens.txt"', *special])


def _hotwords(export: Export) -> str:
    program = "sherpa-onnx-offline" if export.context.is_full else "sherpa-onnx"
    words = [program, *_flags(export), "--decoding-method=modified_beam_search"]
    more = ["--modeling-unit=bpe", "--bpe-vocab=bpe.vocab", "--hotwords-file=hotwords.txt"]
    return (
        "Hotwords (one a line in hotwords.txt, written as the model writes; after beam search)\n\n"
        + _command([*words, *more, "--hotwords-score=2.0", "a.wav"])
    )


def _smaller(export: Export) -> str:
    lines = ["Smaller files"]
    for form in export.options.forms[1:]:
        names = " ".join(form_path(Path(f"{name}.onnx"), form).name for name in export.networks)
        lines.append(f"{names}\n  {FORMS[form]}")
    return "\n\n".join([*lines, "They take the place of the files above, each by itself."])


def _special(export: Export) -> dict[str, int]:
    """What sherpa-onnx must be given."""
    settings = {"sample_rate": export.options.sample_rate, "feature_dim": export.num_features}
    return {name: value for name, value in settings.items() if value != EXPECTED[name]}


def _streaming_python(export: Export, tail: str) -> str:
    return f"""\
  import numpy as np, sherpa_onnx, soundfile

  recognizer = sherpa_onnx.OnlineRecognizer.{_online_factory(export)}(
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

  recognizer = sherpa_onnx.OfflineRecognizer.{_offline_factory(export)}(
      {_arguments(export)}
  )
  samples, rate = soundfile.read("a.wav", dtype="float32")
  stream = recognizer.create_stream()
  stream.accept_waveform(rate, samples)
  recognizer.decode_stream(stream)
  print(stream.result.text)"""


def _online_factory(export: Export) -> str:
    return "from_transducer" if export.options.head == "transducer" else "from_zipformer2_ctc"


def _offline_factory(export: Export) -> str:
    return "from_transducer" if export.options.head == "transducer" else "from_zipformer_ctc"
