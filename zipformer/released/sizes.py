"""The architecture of a published model, from the shapes of its weights.

Shapes tell nearly everything. What they leave open is looked up among the settings that a training
stores beside the weights, or is as in every published model; contradictions are errors.

Sizes are as in ``ZipformerConfig``; stored ones are frames at 50 Hz where ours are of 10 ms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from zipformer.config import ContextConfig, ModelConfig
from zipformer.context import UNLIMITED
from zipformer.nn.zipformer.config import ZipformerConfig

POS_HEAD_DIM = 4  # in every published model; without it, the number of heads would be open
AED_HEADS = 8
PUBLISHED_CHUNKS = (16, 32, 64, -1)  # at 50 Hz, of every published training with a menu
PUBLISHED_LEFT = (64, 128, 256, -1)
STORED = {  # settings as a training stores them -> keys of ``ZipformerConfig``
    "num_encoder_layers": "num_layers",
    "downsampling_factor": "downsampling",
    "feedforward_dim": "feedforward_dims",
    "num_heads": "num_heads",
    "encoder_dim": "dims",
    "query_head_dim": "query_head_dim",
    "value_head_dim": "value_head_dim",
    "pos_head_dim": "pos_head_dim",
    "encoder_unmasked_dim": "unmasked_dims",
    "cnn_module_kernel": "kernels",
}
Sizes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """What a published model is.

    Args:
        encoder: Its encoder.
        model: Its heads, and their sizes.
        context: What it was trained with, as far as that is stored; else as published trainings.
        vocab_size: V.
        sample_rate: Of the audio, in Hz.
        assumed: What neither shapes nor settings told, a line each.
    """

    encoder: ZipformerConfig
    model: ModelConfig
    context: ContextConfig
    vocab_size: int
    sample_rate: int = 16000
    assumed: tuple[str, ...] = field(default=())


def architecture_of(weights: Mapping[str, Tensor], stored: Mapping[str, object]) -> Architecture:
    """Finds out what a model is.

    Args:
        weights: Under our names (``zipformer.released.names``).
        stored: Settings of the training, if there are any, such as ``encoder_dim``.

    Raises:
        ValueError: If shapes contradict each other or a stored setting, naming both; or if the
            weights are those of something else.
    """
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    encoder = _encoder(shapes, stored)
    model, vocab_size, assumed = _heads(shapes, stored)
    context, more = _context(encoder, stored)
    rate = stored.get("sample_rate", 16000)
    if not isinstance(rate, int):
        raise ValueError(f"the checkpoint stores sample_rate = {rate!r}, which is no number")
    return Architecture(encoder, model, context, vocab_size, rate, (*assumed, *more))


# The encoder


def _encoder(shapes: Sizes, stored: Mapping[str, object]) -> ZipformerConfig:
    stacks = _count(shapes, r"encoder\.stacks\.(\d+)\.")
    if not stacks:
        raise ValueError("there is no encoder.stacks: these weights are those of no Zipformer")
    found: dict[str, list[int]] = {key: [] for key in STORED.values()}
    pos_head_dim = _listed(stored, "pos_head_dim", stacks) or (POS_HEAD_DIM,) * stacks
    for index in range(stacks):
        for key, size in _stack(shapes, index, pos_head_dim[index]).items():
            found[key].append(size)
    sizes = {key: tuple(values) for key, values in found.items() if values}
    for name, key in STORED.items():
        value = _listed(stored, name, stacks)
        if value is not None and key in sizes and value != sizes[key]:
            raise ValueError(
                f"the checkpoint stores {name} = {_joined(value)}, but its weights have "
                f"{_joined(sizes[key])}"
            )
    sizes["unmasked_dims"] = _listed(stored, "encoder_unmasked_dim", stacks) or _unmasked(
        sizes["dims"]
    )
    frontend = shapes["encoder.frontend.out.weight"]
    channels = tuple(shapes[f"encoder.frontend.conv{i}.weight"][0] for i in (1, 2, 3))
    return ZipformerConfig.medium(
        **sizes,
        frontend_channels=channels,
        num_features=_num_features(frontend[1] // channels[2], stored),
        pos_dim=shapes["encoder.stacks.0.layers.0.self_attn_weights.linear_pos.weight"][1],
        causal=any(name.endswith(".causal_conv.weight") for name in shapes),
    )


def _stack(shapes: Sizes, index: int, pos_head_dim: int) -> dict[str, int]:
    """The sizes of one stack, of its first layer; the others are compared when they are loaded."""
    stack, layer = f"encoder.stacks.{index}.", f"encoder.stacks.{index}.layers.0."

    def size(name: str, axis: int = 0) -> int:
        try:
            return shapes[layer + name][axis]
        except (KeyError, IndexError):
            raise ValueError(
                f"there is no {layer}{name} of the shape that a Zipformer has: these weights are "
                "those of another architecture, or not all are there"
            ) from None

    heads, rest = divmod(size("self_attn_weights.linear_pos.weight"), pos_head_dim)
    queries = size("self_attn_weights.in_proj.weight") - heads * pos_head_dim
    values = size("self_attn1.in_proj.weight")
    if rest or not heads or queries % (2 * heads) or values % heads:
        raise ValueError(
            f"{layer}self_attn_weights does not divide into heads with {pos_head_dim} numbers for "
            "positions each (pos_head_dim), as published models have"
        )
    causal = f"{layer}conv_module1.depthwise_conv.chunkwise_conv.weight" in shapes
    conv = "conv_module1.depthwise_conv." + ("chunkwise_conv." if causal else "") + "weight"
    return {
        "downsampling": shapes.get(f"{stack}downsample.bias", (1,))[0],
        "num_layers": _count(shapes, re.escape(stack) + r"layers\.(\d+)\."),
        "dims": size("norm.bias"),
        "query_head_dim": queries // (2 * heads),
        "pos_head_dim": pos_head_dim,
        "value_head_dim": values // heads,
        "num_heads": heads,
        "feedforward_dims": size("feed_forward2.in_proj.weight"),
        "kernels": size(conv, 2),
    }


def _unmasked(dims: Sequence[int]) -> tuple[int, ...]:
    """As published for these sizes, else three quarters; of use in training alone."""
    published = (ZipformerConfig.small, ZipformerConfig.medium, ZipformerConfig.large)
    for config in (size() for size in (*published, ZipformerConfig.xlarge)):
        if config.dims == tuple(dims):
            return config.unmasked_dims
    return tuple(3 * d // 4 for d in dims)


def _num_features(bins: int, stored: Mapping[str, object]) -> int:
    """Mel filters; of those that give as many bins behind the convolutions, 80 or the stored."""
    wanted = stored.get("feature_dim", 80)
    possible = [n for n in range(4 * bins, 4 * bins + 9) if ((n - 1) // 2 - 1) // 2 == bins]
    if wanted in possible:
        return int(str(wanted))
    if "feature_dim" in stored or not possible:
        raise ValueError(
            f"the checkpoint stores feature_dim = {wanted}, but its frontend has weights for "
            f"{possible or 'no number of'} mel filters"
        )
    return possible[-1]


# Heads


def _heads(shapes: Sizes, stored: Mapping[str, object]) -> tuple[ModelConfig, int, tuple[str, ...]]:
    """Which heads there are, the size of their vocabulary, and what had to be assumed."""
    transducer = "predictor.embedding.weight" in shapes and "joiner.output_linear.weight" in shapes
    ctc, aed = "ctc_output.1.weight" in shapes, "attention_decoder.embed.weight" in shapes
    if not transducer and not ctc:
        raise ValueError(
            "there is an encoder, but neither a transducer (decoder.*, joiner.*) nor a CTC head "
            "(ctc_output.*): nothing would recognise words"
        )
    parts = {
        "predictor.embedding.weight": transducer,
        "joiner.output_linear.weight": transducer,
        "ctc_output.1.weight": ctc,
        "attention_decoder.embed.weight": aed,
    }
    rows = {name: shapes[name][0] for name, there in parts.items() if there}
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise ValueError(f"the heads are of different vocabularies: {listed}")
    keys: dict[str, int] = {}
    assumed: list[str] = []
    if transducer:
        keys["predictor_dim"] = shapes["predictor.embedding.weight"][1]
        keys["joiner_dim"] = shapes["joiner.output_linear.weight"][1]
        keys["context_size"] = shapes.get("predictor.conv.weight", (0, 0, 1))[2]
    if aed:
        keys["aed_dim"] = shapes["attention_decoder.embed.weight"][1]
        keys["aed_layers"] = _count(shapes, r"attention_decoder\.layers\.(\d+)\.")
        keys["aed_feedforward_dim"] = shapes["attention_decoder.layers.0.feed_forward.0.weight"][0]
        heads = stored.get("attention_decoder_num_heads")
        keys["aed_heads"] = heads if isinstance(heads, int) else AED_HEADS
        if not isinstance(heads, int):
            assumed.append(f"the attention decoder has {AED_HEADS} heads: its weights do not tell")
    model = ModelConfig(transducer=transducer, ctc=ctc, attention_decoder=aed, **keys)
    return model, next(iter(rows.values())), tuple(assumed)


# Contexts of training


def _context(
    encoder: ZipformerConfig, stored: Mapping[str, object]
) -> tuple[ContextConfig, tuple[str, ...]]:
    """The menu that it was trained with; stored sizes are frames at 50 Hz."""
    if not encoder.causal:
        return ContextConfig(chunk=(UNLIMITED,), left=(UNLIMITED,), right=(0,)), ()
    chunks, left = _listed(stored, "chunk_size"), _listed(stored, "left_context_frames")
    assumed: tuple[str, ...] = ()
    if chunks is None or left is None:
        shown = ", ".join(str(2 * c) if c > 0 else "inf" for c in PUBLISHED_CHUNKS)
        assumed = (
            f"trained with chunks of {shown} frames, as published models are: that is not stored",
        )
    fits = encoder.context_unit
    menu = ContextConfig(
        chunk=_at_100_hz(chunks or PUBLISHED_CHUNKS, lambda size: size % fits == 0),
        left=_at_100_hz(
            left or PUBLISHED_LEFT, lambda size: size % fits == 0 and size >= encoder.min_left
        ),
        right=(0,),
    )
    return menu, assumed


def _at_100_hz(sizes: Sequence[int], fits: Callable[[int], bool]) -> tuple[int, ...]:
    """Frames of 10 ms, of frames at 50 Hz; those alone that streams here can have."""
    doubled = (UNLIMITED if size < 0 else 2 * size for size in sizes)
    kept = tuple(size for size in doubled if size == UNLIMITED or fits(size))
    return kept or (UNLIMITED,)


# Reading


def _listed(stored: Mapping[str, object], name: str, count: int = 0) -> tuple[int, ...] | None:
    """A stored setting, such as ``"192,256"``, as numbers; None if it is not there.

    Raises:
        ValueError: If it is no list of numbers, or not one for each stack.
    """
    value = stored.get(name)
    if value is None:
        return None
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    try:
        numbers = tuple(int(str(item).strip().strip("()[]")) for item in items)
    except ValueError:
        raise ValueError(f"the checkpoint stores {name} = {value!r}: no list of numbers") from None
    if count and len(numbers) == 1:
        numbers *= count
    if count and len(numbers) != count:
        raise ValueError(
            f"the checkpoint stores {name} = {_joined(numbers)}, but its encoder has {count} stacks"
        )
    return numbers


def _count(shapes: Sizes, pattern: str) -> int:
    """How many numbers follow the beginning of a name, from 0 on."""
    found = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
    return len(found)


def _joined(sizes: Sequence[int]) -> str:
    return ",".join(map(str, sizes))
