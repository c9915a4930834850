#!/usr/bin/env python3
"""How many live streams a core carries: our recognizer, and stock sherpa-onnx with our export.

Ours takes its steps in onnxruntime as a server does, as a fixed graph of PyTorch, and in plain
PyTorch. All hear the same audio at the same context, on one thread, in turns, features and greedy
search included, and the best of several rounds counts. The first table is whole recognition, as a
real-time factor per stream; the second is the encoder's step alone, in milliseconds.

    python scripts/dev/bench_streaming.py --contexts "32/256/0 32/256/64" --streams 1 8 32
    python scripts/dev/bench_streaming.py --size small      # random weights of the published size
    python scripts/dev/bench_streaming.py --json            # how many a core carries, and the ratio
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from zipformer import Context, Transducer, ZipformerConfig  # noqa: E402
from zipformer.checkpoint.loading import load_model  # noqa: E402
from zipformer.commands.errors import one_line_errors, show_warnings  # noqa: E402
from zipformer.context import parse_contexts  # noqa: E402
from zipformer.evaluation.table import Table, to_markdown  # noqa: E402
from zipformer.export import OnnxSteps, export_streaming  # noqa: E402
from zipformer.export.feeding import tail_seconds  # noqa: E402
from zipformer.export.runtime import OnnxEncoder, OnnxModel  # noqa: E402
from zipformer.model import SpeechModel  # noqa: E402
from zipformer.streaming import Recognizer  # noqa: E402
from zipformer.streaming.packed_step import PackedStep, trace  # noqa: E402

RATE = 16000
DIGITS = ROOT / "tests/assets/digits/model.pt"
ENGINES = ("PyTorch", "traced", "ours", "ours int8", "sherpa")
Runs = dict[str, Callable[[], object]]


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    show_warnings()
    with one_line_errors():
        model, tokens = choose_model(options)
        whole, steps, cases = [], [], []
        for context in parse_contexts(options.contexts):
            with TemporaryDirectory() as folder, torch.inference_mode():
                export_streaming(model, tokens, context, Path(folder))
                for count in options.streams:
                    runs = recognitions(model, tokens, context, Path(folder), count, options)
                    seconds = count * (options.seconds + tail_seconds(context))
                    times = {k: t / seconds for k, t in best(runs, options.rounds).items()}
                    cases.append(case(options, context, count, times))
                    if options.json:
                        continue
                    whole.append([str(context), str(count), *whole_row(times)])
                    runs = encoder_steps(model, context, Path(folder), count)
                    found = best(runs, 5 * options.rounds)
                    steps.append([str(context), str(count), *step_row(found)])
                    print(".", end="", flush=True, file=sys.stderr)
    if options.json:
        print(json.dumps({"cases": cases}, indent=2))
        return
    name = options.size or options.checkpoint
    print(f"\n{name}, torch {torch.__version__}, 1 thread; {options.seconds:g} s a stream\n")
    head = ["context", "streams", *(f"{name} RTF" for name in ENGINES)]
    head += ["streams per core, ours", "sherpa", "ratio"]
    print(to_markdown(Table(head, whole)))
    head = ["context", "streams", "PyTorch ms", "traced ms", "ours ms", "export ms"]
    print(f"\n{to_markdown(Table(head, steps))}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--checkpoint", type=Path, default=DIGITS.relative_to(ROOT))
    which.add_argument("--size", choices=("small", "medium", "large"), help="random weights")
    parser.add_argument("--contexts", default="32/256/0 32/256/64")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0, help="audio of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="only ours and sherpa-onnx, as JSON")
    return parser.parse_args()


def choose_model(options: argparse.Namespace) -> tuple[SpeechModel, list[str]]:
    if options.size is None:
        loaded = load_model(ROOT / options.checkpoint)
        return loaded.model, loaded.tokenizer.tokens
    torch.manual_seed(0)
    config = getattr(ZipformerConfig, options.size)()
    return Transducer(config, 500).eval(), ["<blk>", *(f"t{i}" for i in range(1, 500))]


def recognitions(
    model: SpeechModel,
    tokens: Sequence[str],
    context: Context,
    folder: Path,
    count: int,
    options: argparse.Namespace,
) -> Runs:
    """The same streams, heard chunk by chunk with a step's silence after them."""
    generator = np.random.default_rng(0)
    samples = generator.normal(0, 0.1, (count, round(RATE * options.seconds))).astype(np.float32)
    tail = np.zeros((count, round(RATE * tail_seconds(context))), np.float32)
    audio = np.concatenate([samples, tail], axis=1)
    pieces = np.array_split(audio, -(-audio.shape[1] // (160 * context.chunk)), axis=1)

    def ours(recognizer: Recognizer) -> Callable[[], object]:
        def run() -> None:
            streams = [recognizer.open() for _ in range(count)]
            for piece in pieces:
                for stream, heard in zip(streams, piece, strict=True):
                    stream.accept(heard)
                recognizer.advance(streams)
            recognizer.close(streams, flush=False)

        return run

    runs: Runs = {
        "ours": ours(Recognizer(model, tokens, context, prepare=OnnxSteps(1))),
        "sherpa": sherpa(folder, pieces),
    }
    if options.json:
        return runs
    return runs | {
        "PyTorch": ours(Recognizer(model, tokens, context)),
        "traced": ours(Recognizer(model, tokens, context, prepare=trace)),
        "ours int8": ours(Recognizer(model, tokens, context, prepare=OnnxSteps(1, int8=True))),
    }


def sherpa(folder: Path, pieces: Sequence[np.ndarray]) -> Callable[[], object]:
    import sherpa_onnx

    files = {name: str(folder / f"{name}.onnx") for name in ("encoder", "decoder", "joiner")}
    recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=str(folder / "tokens.txt"), num_threads=1, **files
    )

    def run() -> None:
        streams = [recognizer.create_stream() for _ in pieces[0]]
        for piece in pieces:
            for stream, heard in zip(streams, piece, strict=True):
                stream.accept_waveform(RATE, heard)
            while ready := [s for s in streams if recognizer.is_ready(s)]:
                recognizer.decode_streams(ready)

    return run


def encoder_steps(model: SpeechModel, context: Context, folder: Path, count: int) -> Runs:
    step = PackedStep(model.encoder, context)
    traced, ours = trace(step), OnnxSteps(1)(step)
    features = torch.randn(count, context.window + 13, model.encoder.config.num_features)
    state = torch.cat([step.fresh.pack()] * count), torch.cat([step.fresh.processed] * count)
    encoder = OnnxModel(folder).encoder
    assert isinstance(encoder, OnnxEncoder), "exported for streams"
    fresh = encoder.initial_state(count)
    return {
        "PyTorch": lambda: step(features, *state),
        "traced": lambda: traced(features, *state),
        "ours": lambda: ours(features, *state),
        "export": lambda: encoder.step(features, fresh),
    }


def best(runs: Runs, rounds: int) -> dict[str, float]:
    """Seconds of the fastest round of each; they take turns, after one round that is not timed."""
    found = dict.fromkeys(runs, float("inf"))
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if number:
                found[name] = min(found[name], time.perf_counter() - began)
    return found


def case(
    options: argparse.Namespace, context: Context, count: int, rtf: dict[str, float]
) -> dict[str, object]:
    """How many streams a core carries, ours and sherpa-onnx's."""
    return {
        "name": f"{options.size or options.checkpoint.parent.name} {context}",
        "streams": count,
        "ours": round(1 / rtf["ours"], 1),
        "sherpa": round(1 / rtf["sherpa"], 1),
        "ratio": round(rtf["sherpa"] / rtf["ours"], 3),
    }


def whole_row(rtf: dict[str, float]) -> list[str]:
    carried = [f"{1 / rtf[name]:.0f}" for name in ("ours", "sherpa")]
    ratio = f"{rtf['sherpa'] / rtf['ours']:.2f}"
    return [*(f"{rtf[name]:.4f}" for name in ENGINES), *carried, ratio]


def step_row(seconds: dict[str, float]) -> list[str]:
    return [f"{1000 * seconds[name]:.2f}" for name in ("PyTorch", "traced", "ours", "export")]


if __name__ == "__main__":
    main()
