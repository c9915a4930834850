"""Architecture of the encoders that the Zipformer is compared with.

They run at 25 Hz after the Zipformer's frontend and one downsampling by 2, so that contexts,
output frames and look-ahead are the same for all kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zipformer.context import FRAMES_PER_OUTPUT
from zipformer.nn.encoder_config import EncoderConfig, Size


@dataclass(frozen=True)
class BaselineConfig(EncoderConfig):
    """What these encoders have in common."""

    dropout: float = 0.1
    dual_norm: bool = False  # separate norms for full context and for chunks

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"encoder.dropout must lie in 0..1, got {self.dropout}")
        if self.dual_norm and not self.causal:
            raise ValueError(
                "encoder.dual_norm = true keeps norms for chunks apart, which an encoder with "
                "encoder.causal = false never sees; set one of the two back"
            )

    @property
    def context_unit(self) -> int:
        """Frames of 10 ms that chunk, left and right must be multiples of."""
        return FRAMES_PER_OUTPUT


@dataclass(frozen=True)
class _AttentionConfig(BaselineConfig):
    """Sizes of encoders whose layers are alike and attend."""

    num_layers: int = 12
    dim: int = 256
    num_heads: int = 4
    feedforward_dim: int = 1024
    pos_dim: int = 64  # of the relative position encoding

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.num_heads:
            raise ValueError(
                f"encoder.dim {self.dim} must be a multiple of encoder.num_heads {self.num_heads}"
            )
        if self.pos_dim % 2:
            raise ValueError(f"encoder.pos_dim must be even, got {self.pos_dim}")

    @property
    def frontend_dim(self) -> int:
        """D of the layers."""
        return self.dim

    @property
    def output_dim(self) -> int:
        """D of the layers."""
        return self.dim

    @property
    def min_left(self) -> int:
        """Attention can do without left context."""
        return 0


@dataclass(frozen=True)
class TransformerConfig(_AttentionConfig):
    """Sizes of a Transformer encoder.

    The default is the medium one. The large one has the sizes of the Transformer Transducer
    (arXiv 2002.02562): 18 layers of 512.
    """

    kind: Literal["transformer"] = "transformer"
    dim: int = 512
    num_heads: int = 8
    feedforward_dim: int = 2048

    SIZES: ClassVar[dict[str, dict[str, Size]]] = {
        "small": {"dim": 256, "num_heads": 4, "feedforward_dim": 1024},
        "medium": {},
        "large": {"num_layers": 18},
    }


@dataclass(frozen=True)
class ConformerConfig(_AttentionConfig):
    """Sizes of a Conformer encoder.

    Small, medium (the default) and large are those of the paper (arXiv 2005.08100, Table 1), with
    a kernel of 31 where it has 32, which has no middle.
    """

    kind: Literal["conformer"] = "conformer"
    num_layers: int = 16
    kernel: int = 31

    SIZES: ClassVar[dict[str, dict[str, Size]]] = {
        "small": {"dim": 144, "feedforward_dim": 576},
        "medium": {},
        "large": {"num_layers": 17, "dim": 512, "num_heads": 8, "feedforward_dim": 2048},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel % 2 == 0:
            raise ValueError(f"encoder.kernel must be odd, got {self.kernel}")

    @property
    def min_left(self) -> int:
        """Fewest frames of left context: as far as the convolution reaches back."""
        return FRAMES_PER_OUTPUT * (self.kernel // 2)


def _contextnet_channels(width: float) -> tuple[int, ...]:
    """Of all 23 blocks (arXiv 2005.03191, Table 1), where ``width`` is its alpha."""
    return tuple(int(width * c) for c in (*(256,) * 11, *(512,) * 11, 640))


@dataclass(frozen=True)
class ContextNetConfig(BaselineConfig):
    """Sizes of a ContextNet encoder, which has no attention.

    Small, medium (the default) and large have the channels of the paper with alpha 0.5, 1 and 2
    (arXiv 2005.03191, Table 1). Its strides inside are left out: all blocks run at 25 Hz. The left
    context of a ``Context`` means nothing here: convolutions look back as far as they reach, the
    averages of squeeze-and-excitation to the beginning.
    """

    kind: Literal["contextnet"] = "contextnet"
    channels: tuple[int, ...] = _contextnet_channels(1.0)  # of each block
    num_layers: int = 5  # convolutions in a block; the first and the last block have one
    kernel: int = 5
    squeeze: int = 8  # channels divided by this are those between squeeze and excitation

    SIZES: ClassVar[dict[str, dict[str, Size]]] = {
        "small": {"channels": _contextnet_channels(0.5)},
        "medium": {},
        "large": {"channels": _contextnet_channels(2.0)},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel % 2 == 0:
            raise ValueError(f"encoder.kernel must be odd, got {self.kernel}")
        if len(self.channels) < 2:
            raise ValueError("encoder.channels needs two blocks or more, the first and the last")
        if self.squeeze < 1 or min(self.channels) < self.squeeze:
            raise ValueError(
                f"encoder.squeeze {self.squeeze} must lie between 1 and the fewest channels, "
                f"{min(self.channels)}"
            )

    @property
    def frontend_dim(self) -> int:
        """Channels of the first block."""
        return self.channels[0]

    @property
    def output_dim(self) -> int:
        """Channels of the last block."""
        return self.channels[-1]

    @property
    def min_left(self) -> int:
        """Nothing here looks at the left context of a context."""
        return 0
