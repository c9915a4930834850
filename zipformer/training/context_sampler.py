"""Draws the context of every training step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zipformer.config import ContextConfig
from zipformer.context import UNLIMITED, Context
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.nn.streaming_encoder import RightMode

_STREAM = 0x5EED_C0DE  # keeps these draws apart from others made from the same seed and step


class ContextSampler:
    """Draws (chunk, left, right) and the view of right context, once per step.

    A draw depends on nothing but the seed and the step, so that it is the same on every rank and
    after a resume. The policies:

    - ``uniform``: each size from its menu, all entries alike.
    - ``continuous``: any allowed multiple up to the largest entry of the menu; -1 keeps the share
      that it has in the menu.
    - ``curriculum``: like uniform, from menus that grow over ``curriculum_steps`` from the easiest
      entry (unlimited, then the largest) to the whole menu; right context begins with its largest.

    A windowed step computes every frame (chunk + right) / chunk times. Where that is more than
    ``max_window_ratio``, another chunk is drawn from those that keep it, so that neither memory nor
    the time of a step has to be planned for the worst pair of the menus.

    Args:
        config: The menus, which a ``RunConfig`` has checked.
        encoder: Whose limits drawn sizes must keep.
        seed: Of the run.
        full_share: Share of the steps that get full context, whatever the menus say.
    """

    def __init__(
        self,
        config: ContextConfig,
        encoder: EncoderConfig,
        seed: int,
        full_share: float = 0.0,
    ) -> None:
        self.config = config
        self.unit = encoder.context_unit
        self.min_left = encoder.min_left
        # Chunks of the continuous policy: those that some left context up to the largest fits.
        self.chunks = [
            chunk
            for chunk in range(self.unit, max(config.chunk) + 1, self.unit)
            if max(config.left) == UNLIMITED or self._lowest_left(chunk) <= max(config.left)
        ]
        self.seed = seed
        self.full_share = full_share

    def sample(self, step: int) -> tuple[Context, RightMode]:
        """The context of a step (counted from 0), and how right context is computed in it."""
        generator = torch.Generator().manual_seed(_mix(self.seed, step))
        if self.full_share and torch.rand((), generator=generator).item() < self.full_share:
            return Context.full(), "windowed"
        if self.config.policy == "continuous":
            context = self._continuous(generator)
        else:
            context = Context(*(_choose(menu, generator) for menu in self._menus(step)))
        mode = self._mode(generator)
        return self._affordable(context, generator) if mode == "windowed" else context, mode

    def heaviest(self) -> list[tuple[Context, RightMode]]:
        """Of all that may be drawn, what needs most memory.

        The whole utterance, or else the largest chunk; and most windows per chunk.
        """
        menu = self.config
        modes: list[RightMode] = ["masked", "windowed"]
        if menu.right_mode != "mixed":
            modes = [menu.right_mode]
        left = UNLIMITED if UNLIMITED in menu.left else max(menu.left)
        found: list[tuple[Context, RightMode]] = []
        if UNLIMITED in menu.chunk:
            found.append((Context.full(), modes[0]))
        else:
            found.append((Context(max(menu.chunk), left, max(menu.right)), modes[0]))
        finite = [chunk for chunk in menu.chunk if chunk != UNLIMITED]
        if finite and modes[-1] == "windowed":
            found.append((Context(min(finite), left, max(menu.right)), modes[-1]))
        if self.full_share:
            found.append((Context.full(), modes[0]))
        return found

    def _menus(self, step: int) -> list[Sequence[int]]:
        menus: list[Sequence[int]] = [self.config.chunk, self.config.left, self.config.right]
        if self.config.policy == "uniform" or step >= self.config.curriculum_steps:
            return menus
        share = step / self.config.curriculum_steps
        easiest_first = [sorted(m, key=lambda s: -s if s >= 0 else -(1 << 62)) for m in menus]
        return [m[: 1 + int(share * len(m))] for m in easiest_first]

    def _continuous(self, generator: torch.Generator) -> Context:
        if _choose(self.config.chunk, generator) == UNLIMITED:
            return Context.full()
        chunk = _choose(self.chunks, generator)
        left = UNLIMITED
        if _choose(self.config.left, generator) != UNLIMITED:
            lefts = range(self._lowest_left(chunk), max(self.config.left) + 1, chunk)
            left = _choose(lefts, generator)
        right = _choose(range(0, max(self.config.right) + 1, self.unit), generator)
        return Context(chunk, left, right)

    def _affordable(self, context: Context, generator: torch.Generator) -> Context:
        """The context, or another chunk with the same left and right that costs less."""
        limit = self.config.max_window_ratio
        if limit == 0.0 or context.is_full or context.window <= limit * context.chunk:
            return context
        continuous = self.config.policy == "continuous"
        chunks = [
            chunk
            for chunk in (self.chunks if continuous else self.config.chunk)
            if chunk == UNLIMITED
            or (chunk + context.right <= limit * chunk and self._fits(chunk, context.left))
        ]
        if not chunks:
            return Context.full()
        return Context(_choose(chunks, generator), context.left, context.right)

    def _fits(self, chunk: int, left: int) -> bool:
        return left == UNLIMITED or (left % chunk == 0 and left >= self._lowest_left(chunk))

    def _lowest_left(self, chunk: int) -> int:
        return -(-self.min_left // chunk) * chunk

    def _mode(self, generator: torch.Generator) -> RightMode:
        if self.config.right_mode != "mixed":
            return self.config.right_mode
        share = torch.rand((), generator=generator).item()
        return "windowed" if share < self.config.windowed_share else "masked"


def _choose(menu: Sequence[int], generator: torch.Generator) -> int:
    return menu[int(torch.randint(len(menu), (), generator=generator))]


def _mix(seed: int, step: int) -> int:
    """One number from two, such that neighbours share no bits to speak of (splitmix64)."""
    x = (seed * 0x9E3779B97F4A7C15 + step + _STREAM) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = ((x ^ (x >> shift)) * factor) % 2**64
    return (x ^ (x >> 31)) % 2**63
