"""Architecture of a Zipformer encoder, one value per stack."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from zipformer.context import Context

_NOT_PER_STACK = {
    "pos_dim",
    "frontend_channels",
    "num_features",
    "feature_mean",
    "feature_std",
    "causal",
}


@dataclass(frozen=True)
class ZipformerConfig:
    """Sizes of the encoder; every tuple has one entry per stack.

    The defaults are the medium model of the paper (Zipformer, arXiv 2310.11230, Table 1).

    Raises:
        ValueError: If the tuples differ in length or a size cannot be built.
    """

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
    frontend_channels: tuple[int, int, int] = (8, 32, 128)
    num_features: int = 80
    feature_mean: float = 0.0  # subtracted from the features, which are then
    feature_std: float = 1.0  # divided by this; as published, neither
    causal: bool = True

    def __post_init__(self) -> None:
        stacks = len(self.downsampling)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _NOT_PER_STACK:
                continue
            if isinstance(value, int):
                object.__setattr__(self, field.name, (value,) * stacks)
            elif len(value) != stacks:
                raise ValueError(
                    f"encoder.{field.name} has {len(value)} entries, downsampling has {stacks}: "
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
        if self.feature_std <= 0:
            raise ValueError(f"encoder.feature_std must be positive, got {self.feature_std}")
        if len(self.frontend_channels) != 3:
            raise ValueError("encoder.frontend_channels must have 3 entries")
        if any(max(self.downsampling) % ds for ds in self.downsampling):
            raise ValueError("encoder.downsampling: each entry must divide the largest one")

    @classmethod
    def small(cls, **changes: object) -> ZipformerConfig:
        """About 23 M parameters as a transducer; any field may be changed by keyword."""
        base = cls(
            num_layers=(2,) * 6,
            dims=(192, 256, 256, 256, 256, 256),
            unmasked_dims=(192,) * 6,
            feedforward_dims=(512, 768, 768, 768, 768, 768),
        )
        return replace(base, **changes)  # type: ignore[arg-type]

    @classmethod
    def medium(cls, **changes: object) -> ZipformerConfig:
        """About 66 M parameters as a transducer; any field may be changed by keyword."""
        return replace(cls(), **changes)  # type: ignore[arg-type]

    @classmethod
    def large(cls, **changes: object) -> ZipformerConfig:
        """About 149 M parameters as a transducer; any field may be changed by keyword."""
        base = cls(
            num_layers=(2, 2, 4, 5, 4, 2),
            dims=(192, 256, 512, 768, 512, 256),
            unmasked_dims=(192, 192, 256, 320, 256, 192),
            feedforward_dims=(512, 768, 1536, 2048, 1536, 768),
        )
        return replace(base, **changes)  # type: ignore[arg-type]

    @property
    def output_dim(self) -> int:
        """D of the encoder output: the widest stack."""
        return max(self.dims)

    @property
    def context_unit(self) -> int:
        """Frames of 10 ms that chunk, left and right must be multiples of."""
        return 2 * max(self.downsampling)

    @property
    def min_left(self) -> int:
        """Fewest frames of left context: as far as the convolution of any stack reaches back."""
        return max(2 * ds * (k // 2) for ds, k in zip(self.downsampling, self.kernels, strict=True))

    def check_context(self, context: Context) -> None:
        """Refuses a context that this encoder cannot compute exactly.

        Raises:
            ValueError: Naming what is wrong and the nearest allowed values.
        """
        if not self.causal and not context.is_full:
            raise ValueError(
                f"context {context}: an encoder with causal = false sees the whole utterance; "
                "use 'full', or train with encoder.causal = true"
            )
        context.check(self.context_unit, self.min_left)
