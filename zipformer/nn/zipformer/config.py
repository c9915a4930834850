"""Sizes of the Zipformer, and what of it may be left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from zipformer.nn.choices import ActivationName, Choices, NormName
from zipformer.nn.encoder_config import EncoderConfig, Size

PER_STACK = (
    "downsampling",
    "num_layers",
    "dims",
    "unmasked_dims",
    "query_head_dim",
    "pos_head_dim",
    "value_head_dim",
    "num_heads",
    "feedforward_dims",
    "kernels",
)
BlockName = Literal["zipformer", "conformer_pair"]


@dataclass(frozen=True)
class ZipformerConfig(EncoderConfig):
    """Sizes of the Zipformer; every tuple has one entry per stack.

    The defaults are the medium model of the paper (Zipformer, arXiv 2310.11230, Table 1): about
    66 M parameters as a transducer. The small one has about 23 M, the large one 149 M, and the
    largest, ``xlarge``, which was released later, 300 M with a CTC head. The keys after ``pos_dim``
    are for ablations (see ``docs/encoders.md``).

    Raises:
        ValueError: If the tuples differ in length or a size cannot be built.
    """

    kind: Literal["zipformer"] = "zipformer"
    downsampling: tuple[int, ...] = (1, 2, 4, 8, 4, 2)
    num_layers: tuple[int, ...] = (2, 2, 3, 4, 3, 2)
    dims: tuple[int, ...] = (192, 256, 384, 512, 384, 256)
    unmasked_dims: tuple[int, ...] = (192, 192, 256, 256, 256, 192)
    query_head_dim: tuple[int, ...] = (32,) * 6
    pos_head_dim: tuple[int, ...] = (4,) * 6
    value_head_dim: tuple[int, ...] = (12,) * 6
    num_heads: tuple[int, ...] = (4, 4, 4, 8, 4, 4)
    feedforward_dims: tuple[int, ...] = (512, 768, 1024, 1536, 1024, 768)
    kernels: tuple[int, ...] = (31, 31, 15, 15, 15, 31)
    pos_dim: int = 48
    input_downsampling: int = 1  # 2: stacks work on 25 Hz, and nothing is left to do after them
    block: BlockName = "zipformer"  # conformer_pair: two Conformer blocks in place of each layer
    nonlin_attention: bool = True
    share_attention: bool = True  # between the two self-attentions of a layer
    bypass: bool = True
    norm: NormName = "bias_norm"
    activation: ActivationName = "swoosh"
    module_norms: bool = False  # a norm at the end of every module as well, for Adam

    SIZES: ClassVar[dict[str, dict[str, Size]]] = {
        "small": {
            "num_layers": (2,) * 6,
            "dims": (192, 256, 256, 256, 256, 256),
            "unmasked_dims": (192,) * 6,
            "feedforward_dims": (512, 768, 768, 768, 768, 768),
        },
        "medium": {},
        "large": {
            "num_layers": (2, 2, 4, 5, 4, 2),
            "dims": (192, 256, 512, 768, 512, 256),
            "unmasked_dims": (192, 192, 256, 320, 256, 192),
            "feedforward_dims": (512, 768, 1536, 2048, 1536, 768),
        },
        "xlarge": {
            "num_layers": (2, 2, 4, 5, 4, 2),
            "dims": (192, 384, 768, 1024, 768, 384),
            "unmasked_dims": (192, 256, 320, 512, 320, 256),
            "feedforward_dims": (512, 1024, 2048, 3072, 2048, 1024),
        },
    }

    @classmethod
    def xlarge(cls, **changes: Size) -> Self:
        """The size of the authors' package beyond the paper; any field may be changed."""
        return cls._of_size("xlarge", changes)

    def __post_init__(self) -> None:
        super().__post_init__()
        stacks = len(self.downsampling)
        for name in PER_STACK:
            value = getattr(self, name)
            if isinstance(value, int):
                object.__setattr__(self, name, (value,) * stacks)
            elif len(value) != stacks:
                raise ValueError(
                    f"encoder.{name} has {len(value)} entries, downsampling has {stacks}: "
                    "one entry per stack is needed"
                )
        self._check_sizes()

    def _check_sizes(self) -> None:
        if any(k % 2 == 0 for k in self.kernels):
            raise ValueError(f"encoder.kernels must be odd, got {self.kernels}")
        if any(d % 4 for d in self.dims):
            raise ValueError(f"encoder.dims must be multiples of 4, got {self.dims}")
        if self.pos_dim % 2:
            raise ValueError(f"encoder.pos_dim must be even, got {self.pos_dim}")
        if any(u > d for u, d in zip(self.unmasked_dims, self.dims, strict=True)):
            raise ValueError("encoder.unmasked_dims must not be larger than encoder.dims")
        if any(max(self.downsampling) % ds for ds in self.downsampling):
            raise ValueError("encoder.downsampling: each entry must divide the largest one")
        if self.input_downsampling not in (1, 2):
            raise ValueError(
                f"encoder.input_downsampling must be 1 (50 Hz) or 2 (25 Hz), "
                f"got {self.input_downsampling}"
            )
        if self.block != "zipformer" and not (self.nonlin_attention and self.share_attention):
            raise ValueError(
                f"encoder.block = {self.block} has neither NonlinAttention nor shared weights to "
                "leave out: remove encoder.nonlin_attention and encoder.share_attention"
            )

    @property
    def choices(self) -> Choices:
        """What modules are made of."""
        return Choices(
            self.nonlin_attention,
            self.share_attention,
            self.bypass,
            self.norm,
            self.activation,
            self.module_norms,
        )

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers, or Conformer blocks, of each stack."""
        return tuple(n if self.block == "zipformer" else 2 * n for n in self.num_layers)

    @property
    def rates(self) -> tuple[int, ...]:
        """Frames at 50 Hz in one frame of each stack."""
        return tuple(self.input_downsampling * ds for ds in self.downsampling)

    @property
    def frontend_dim(self) -> int:
        """D of the first stack."""
        return self.dims[0]

    @property
    def output_dim(self) -> int:
        """D of the encoder output: the widest stack."""
        return max(self.dims)

    @property
    def context_unit(self) -> int:
        """Frames of 10 ms that chunk, left and right must be multiples of."""
        return 2 * max(2, *self.rates)  # whole frames of all stacks and of the output

    @property
    def min_left(self) -> int:
        """Fewest frames of left context: as far as the convolution of any stack reaches back."""
        return max(2 * rate * (k // 2) for rate, k in zip(self.rates, self.kernels, strict=True))
