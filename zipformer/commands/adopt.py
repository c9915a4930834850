"""Makes a run's folder of a released model, which every verb then takes as any other.

zipformer adopt pretrained.pt --out exp/released
zipformer adopt hf:OWNER/NAME --out exp/NAME

Sizes, heads and tokens are found out; nothing is typed. Models of the icefall recipes and of the
package `zipformer` of the network's authors are known, folders of their trainings, and graphs in
ONNX of streaming ones.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from zipformer.checkpoint.adoption import adopt
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.config import RunConfig
from zipformer.config.menu import describe_menu
from zipformer.context import Context
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.released.averages import Range
from zipformer.released.source import Released, read_released

RIGHT = (0, 64, 128, 256)  # that are suggested, in frames of 10 ms
LEFT = 256


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    parser.add_argument(
        "source", help="weights, a folder, hf:OWNER/NAME[@REVISION], or encoder.onnx"
    )
    parser.add_argument("--out", type=Path, required=True, help="the run's folder, as exp/NAME")
    tokens = parser.add_mutually_exclusive_group()
    tokens.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help="the vocabulary, where it does not lie beside the weights: tokens.txt, a .vocab, or a "
        "sentencepiece model",
    )
    tokens.add_argument(
        "--bpe-model", dest="tokens", type=Path, metavar="FILE", help="the same as --tokens"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--epoch", type=int, help="of a training's folder, take epoch-N.pt")
    which.add_argument("--iter", type=int, help="take checkpoint-STEP.pt instead")
    parser.add_argument(
        "--avg", type=int, help="average over so many, as the program that wrote them (default: 1)"
    )


def run(args: Namespace) -> None:
    """Writes the folder, and prints what was found and what to try next."""
    if args.avg is not None and args.epoch is None and args.iter is None:
        raise ValueError("--avg needs --epoch N or --iter STEP: the last one of the range")
    wanted = None
    if args.epoch is not None or args.iter is not None:
        wanted = Range(args.epoch, args.iter, args.avg or 1)
    released = read_released(args.source, args.tokens, wanted)
    config = adopt(released, args.out)
    for line in (*describe(released, config), *suggestions(config, args.out)):
        print(line)


def describe(released: Released, config: RunConfig) -> Iterator[str]:
    """What was found, for a person."""
    architecture, tokenizer = released.architecture, released.tokenizer
    millions = sum(value.numel() for value in released.weights.values()) / 1e6
    size = _size_name(architecture.encoder)
    yield f"{released.name}: a Zipformer{size}, {millions:.1f} M parameters"
    for key in ("num_layers", "dims", "feedforward_dims", "num_heads", "downsampling"):
        yield f"  {key}: {','.join(map(str, getattr(architecture.encoder, key)))}"
    yield f"  heads: {', '.join(config.model.heads)}"
    yield f"  tokens: {tokenizer.vocab_size}, of {tokenizer.path.name}"
    yield f"  features: {architecture.encoder.num_features} mel at {architecture.sample_rate} Hz"
    if architecture.encoder.causal:
        yield f"  causal, streams; trained with {describe_menu(config.context)}"
    else:
        yield "  not causal: whole utterances only, it cannot stream"
    for note in released.notes:
        yield f"  note: {note}"


def suggestions(config: RunConfig, out: Path) -> Iterator[str]:
    """Commands that the run can be tried with, at contexts that it was trained for."""
    contexts = list(_contexts(config))
    listed = " ".join(["full", *map(str, contexts)])
    yield f"\n{out} is a run now. Next:"
    yield f'  zipformer decode {out} --contexts "{listed}" --sets NAME=cuts.jsonl.gz'
    if not contexts:
        yield f"  zipformer transcribe {out} FILE.wav"
        yield f"  zipformer export {out} --offline"
        return
    best = contexts[min(1, len(contexts) - 1)]
    sizes = f"--chunk {best.chunk} --left {best.left} --right {best.right}"
    yield f"  zipformer transcribe {out} FILE.wav {sizes}"
    yield f"  zipformer serve {out} {sizes}"
    yield f"  zipformer export {out} {sizes}"


def _contexts(config: RunConfig) -> Iterator[Context]:
    """Contexts that stream, of the smallest chunk and several right contexts."""
    chunks = [size for size in config.context.chunk if size > 0]
    if not config.encoder.causal:
        return
    chunk = min(chunks, default=config.encoder.context_unit * 2)
    lefts = [size for size in config.context.left if size > 0]
    left = LEFT if LEFT in lefts or not lefts else max(lefts)
    for right in RIGHT:
        yield Context(chunk, left, right)


def _size_name(encoder: ZipformerConfig) -> str:
    for name in ZipformerConfig.SIZES:
        size = getattr(ZipformerConfig, name)()
        if (size.dims, size.num_layers) == (encoder.dims, encoder.num_layers):
            return f" of size {name}"
    return ""
