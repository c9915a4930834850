"""Full context in a share of the steps, a streaming one in the others."""

from __future__ import annotations

from zipformer.training.methods.single import Single


class Sampled(Single):
    """``single``, with full context drawn apart from the menus."""

    @property
    def full_share(self) -> float:
        """``method.offline_share``."""
        return self.settings.offline_share
