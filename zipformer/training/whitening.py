"""How often each ``Whiten`` looks at its input: no parameter, but it steers the gradients."""

from __future__ import annotations

from torch import nn
from torch.optim.optimizer import StateDict

from zipformer.data.sampler import Share
from zipformer.nn.regularizers import settle_whitening, whiteners
from zipformer.training.distributed import Processes


class Whitening:
    """Remembers it for every batch of a step apart.

    A ``Whiten`` looks more often while it finds something to do. Were that remembered by a process,
    what one batch found would count for the next one in the same process and not in another, and
    a run would depend on how its batches are spread over processes.

    Args:
        model: Whose ``Whiten`` modules.
        processes: That compute a step together.
        share: Which of its batches are this process's.
    """

    def __init__(self, model: nn.Module, processes: Processes, share: Share) -> None:
        self.modules = whiteners(model)
        self.processes = processes
        self.positions = share.positions
        self.probs = [self._present() for _ in share.positions]

    def begin(self, index: int) -> None:
        """To be called before the forward pass of this process's batch number ``index``."""
        for name, module in self.modules.items():
            module.prob = self.probs[index][name]

    def settle(self, index: int) -> None:
        """To be called after its backward pass."""
        settle_whitening(self.modules.values())
        self.probs[index] = self._present()

    def state_dict(self) -> dict[str, list[dict[str, float]]]:
        """Probabilities by name of the module, a dictionary for every batch of a step."""
        everyone = self.processes.gather(self.probs)
        return {"ranks": [probs for one in everyone for probs in one]}

    def load_state_dict(self, state: StateDict) -> None:
        """Takes those of this process's batches over."""
        stored = state.get("ranks", [state])  # older checkpoints: one a process, or one in all
        before = [stored[position % len(stored)] for position in self.positions]
        # What has joined since then begins anew; what has left is forgotten.
        self.probs = [{n: b.get(n, p) for n, p in self._present().items()} for b in before]
        self.begin(0)

    def _present(self) -> dict[str, float]:
        return {name: module.prob for name, module in self.modules.items()}
