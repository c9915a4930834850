"""Writes a model as the ONNX files that sherpa-onnx runs, streaming or offline.

    encoder.onnx  decoder.onnx  joiner.onnx  tokens.txt  README.txt    a transducer
    model.onnx  tokens.txt  README.txt                                 a CTC head

A streaming encoder takes chunk + right + 13 frames in a step, gives the outputs of the chunk alone
and caches the chunk alone; right context is computed again in later steps. To sherpa-onnx this is
an encoder that looks far ahead: nothing there has to change.

Letters: N streams or utterances, T feature frames of a step or an utterance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch

from zipformer.context import Context
from zipformer.export import networks, readme, states
from zipformer.export.feeding import step_frames
from zipformer.export.onnx_file import Network, form_path, require_onnx, write
from zipformer.export.options import Form, Head, Options
from zipformer.export.parts import Parts, TransducerParts, parts_of
from zipformer.files import write_text
from zipformer.model import SpeechModel
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.nn.zipformer.config import ZipformerConfig

ENCODER, DECODER, JOINER, TOKENS = "encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt"
CTC = "model.onnx"
SCORES = "bpe.vocab"
OUTPUTS: dict[Head, str] = {"transducer": "encoder_out", "ctc": "log_probs"}
EXAMPLE = 2  # streams or utterances to trace with
EXAMPLE_FRAMES = 100


def export_streaming(
    model: SpeechModel,
    tokens: Sequence[str],
    context: Context,
    directory: Path,
    options: Options | None = None,
) -> None:
    """Writes a model that streams at one context.

    Args:
        model: A ``Transducer`` or ``AsrModel``, on any device; it is not changed.
        tokens: The piece of every token id.
        context: A finite chunk and left context; any right context.
        directory: Made if need be; files of the same names are replaced.
        options: Which head, in which forms, and what to say of it.

    Raises:
        ValueError: If the encoder is no Zipformer, if the context cannot stream or the encoder
            cannot compute it, if sherpa-onnx has no room for the encoder's state, the model lacks
            the head, or ``tokens`` are of another vocabulary.
        ImportError: If the packages of the extra ``export`` are missing.
    """
    options = options or Options()
    model.encoder.initial_state(1, context)  # refuses what cannot stream
    config = _zipformer(model.encoder.config)
    _check_frontend(config)
    _check_layers(config)
    parts = _prepare(model, context, tokens, directory, options.head)
    state = states.to_list(parts.encoder.initial_state(EXAMPLE, context))
    axes = states.state_axes(parts.encoder.num_layers)
    encoder = Network(
        networks.EncoderStep(parts, context),
        (torch.zeros(EXAMPLE, step_frames(context), config.num_features), *state),
        inputs={"x": {0: "N"}} | {name: {axis: "N"} for name, axis in axes.items()},
        outputs={OUTPUTS[options.head]: {0: "N"}}
        | {f"new_{name}": {axis: "N"} for name, axis in axes.items()},
        metadata=dict(options.about) | streaming_metadata(config, context, options.sample_rate),
    )
    _write_all(encoder, parts, tokens, directory, options)
    readme.write(directory, readme.Export(context, options, config.num_features))


def export_offline(
    model: SpeechModel,
    tokens: Sequence[str],
    directory: Path,
    options: Options | None = None,
) -> None:
    """Writes a model that hears whole utterances, with full context.

    Args:
        model, tokens, directory, options: As in ``export_streaming``.

    Raises:
        ValueError: If the encoder is no Zipformer, the model lacks the head, ``tokens`` are of
            another vocabulary, or half precision is asked for.
        ImportError: If the packages of the extra ``export`` are missing.
    """
    options = options or Options()
    if options.float16:
        raise ValueError(
            "half precision is written for streams alone: onnxruntime crashes when it loads such a "
            "graph for utterances of any length"
        )
    config = _zipformer(model.encoder.config)
    parts = _prepare(model, Context.full(), tokens, directory, options.head)
    num_features = parts.encoder.config.num_features
    output, plural = OUTPUTS[options.head], "s" if options.head == "transducer" else ""
    encoder = Network(
        networks.WholeEncoder(parts),
        (
            torch.zeros(EXAMPLE, EXAMPLE_FRAMES, num_features),
            torch.tensor([EXAMPLE_FRAMES, EXAMPLE_FRAMES // 2]),
        ),
        inputs={"x": {0: "N", 1: "T"}, "x_lens": {0: "N"}},
        outputs={output: {0: "N", 1: "T'"}, f"{output}_len{plural}": {0: "N"}},
        batch_only=False,
        metadata=dict(options.about)
        | {
            "model_type": "zipformer2" if options.head == "transducer" else "zipformer2_ctc",
            "version": "1",
            "comment": "offline zipformer2, full context",
            "sample_rate": str(options.sample_rate),
        },
    )
    _write_all(encoder, parts, tokens, directory, options)
    frames = readme.LONG_MINUTES * 60 * 50  # at 50 Hz
    pairs = max(
        heads * (frames // rate) ** 2
        for heads, rate in zip(config.num_heads, config.rates, strict=True)
    )
    export = readme.Export(Context.full(), options, num_features, 4 * pairs)
    readme.write(directory, export)


def streaming_metadata(
    config: ZipformerConfig, context: Context, sample_rate: int = 16000
) -> dict[str, str]:
    """What sherpa-onnx must know to feed a streaming encoder, and to make its first state.

    ``T`` frames go into a step, of which ``decode_chunk_len`` are new; the rest is the right
    context and the frontend's own look-ahead, which go in again. ``right_context_frames``,
    ``context`` and ``sample_rate`` are for people and for ``runtime``; sherpa-onnx ignores them.
    """

    def listed(values: Sequence[int]) -> str:
        return ",".join(map(str, values))

    return {
        "model_type": "zipformer2",
        "version": "1",
        "comment": f"streaming zipformer2, context {context}",
        "decode_chunk_len": str(context.chunk),
        "T": str(step_frames(context)),
        "right_context_frames": str(context.right),
        "context": str(context),
        "sample_rate": str(sample_rate),
        "num_encoder_layers": listed(config.num_layers),
        "encoder_dims": listed(config.dims),
        "cnn_module_kernels": listed(config.kernels),
        "left_context_len": listed([context.left // 2 // ds for ds in config.downsampling]),
        "query_head_dims": listed(config.query_head_dim),
        "value_head_dims": listed(config.value_head_dim),
        "num_heads": listed(config.num_heads),
    }


def _write_all(
    encoder: Network, parts: Parts, tokens: Sequence[str], directory: Path, options: Options
) -> None:
    """The networks and the vocabulary; what an earlier export of the other head left goes."""
    folder = Path(directory)
    names = (ENCODER, DECODER, JOINER) if isinstance(parts, TransducerParts) else (CTC,)
    for old in {ENCODER, DECODER, JOINER, CTC} - set(names):
        for form in get_args(Form):
            form_path(folder / old, form).unlink(missing_ok=True)
    write(encoder, folder / names[0], options.forms)
    if isinstance(parts, TransducerParts):
        _write_decoder(parts, len(tokens), folder, options.forms)
    lines = [f"{token} {i}\n" for i, token in enumerate(tokens)]
    write_text(folder / TOKENS, "".join(lines))
    (folder / SCORES).unlink(missing_ok=True)
    if options.scores:
        pairs = zip(tokens, options.scores, strict=True)
        write_text(folder / SCORES, "".join(f"{token}\t{score:g}\n" for token, score in pairs))


def _write_decoder(
    parts: TransducerParts, vocab_size: int, folder: Path, forms: Sequence[Form]
) -> None:
    """Decoder and joiner, which are the same for streams and whole utterances."""
    size = parts.predictor.context_size
    joiner_dim = parts.joiner.output_linear.in_features
    decoder = Network(
        networks.PredictorOutput(parts),
        (torch.zeros(EXAMPLE, size, dtype=torch.int64),),
        inputs={"y": {0: "N"}},
        outputs={"decoder_out": {0: "N"}},
        metadata={"context_size": str(size), "vocab_size": str(vocab_size)},
        quantized=("MatMul", "Gather"),
    )
    joiner = Network(
        networks.JoinerOutput(parts),
        (torch.zeros(EXAMPLE, joiner_dim), torch.zeros(EXAMPLE, joiner_dim)),
        inputs={"encoder_out": {0: "N"}, "decoder_out": {0: "N"}},
        outputs={"logit": {0: "N"}},
        metadata={"joiner_dim": str(joiner_dim)},
    )
    write(decoder, folder / DECODER, forms)
    write(joiner, folder / JOINER, forms)


def _prepare(
    model: SpeechModel, context: Context, tokens: Sequence[str], directory: Path, head: Head
) -> Parts:
    """What is exported, copied to the CPU; refuses what cannot be, makes the folder."""
    parts = parts_of(model, context, head)
    if len(tokens) != model.vocab_size:
        raise ValueError(f"{len(tokens)} tokens, but the model knows {model.vocab_size}")
    require_onnx()
    Path(directory).mkdir(parents=True, exist_ok=True)
    return parts


def _zipformer(config: EncoderConfig) -> ZipformerConfig:
    if not isinstance(config, ZipformerConfig):
        raise ValueError(
            f"sherpa-onnx runs Zipformers, this model's encoder.kind is {config.kind!r}: export it "
            "as a checkpoint (--format checkpoint), or train with encoder.kind = 'zipformer'"
        )
    return config


def _check_frontend(config: ZipformerConfig) -> None:
    channels = config.frontend_channels[-1]
    if channels > states.FRONTEND_CHANNELS:
        raise ValueError(
            f"the encoder's frontend has {channels} channels (encoder.frontend_channels), but "
            f"sherpa-onnx keeps {states.FRONTEND_CHANNELS} of a stream: such a model cannot stream "
            "there; export_offline works"
        )


def _check_layers(config: ZipformerConfig) -> None:
    """Ablations have layers with more or less to remember."""
    published = ZipformerConfig()
    for key in ("input_downsampling", "block", "nonlin_attention", "share_attention"):
        if getattr(config, key) != getattr(published, key):
            raise ValueError(
                f"sherpa-onnx keeps the state of published layers, not of those with encoder.{key} "
                f"= {getattr(config, key)}: such a model cannot stream there; export_offline works"
            )
