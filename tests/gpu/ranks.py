"""What each of several processes does in a test; they find it by name."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from zipformer.training.distributed import Processes


def sum_gradients(folder: Path, device: str) -> None:
    """Process r has gradients of r + 1 for one parameter, and only the last has one for another."""
    processes = Processes.from_environment()
    on = torch.device("cuda", processes.local_rank) if device == "cuda" else torch.device("cpu")
    model = nn.ParameterList([torch.zeros(3, 2), torch.zeros(5)]).to(on)
    with processes.connected(on):
        model[0].grad = torch.full((3, 2), processes.rank + 1.0, device=on)
        if processes.rank == processes.world_size - 1:
            model[1].grad = torch.ones(5, device=on)
        processes.sum_gradients(model)
        grads = [p.grad.cpu() for p in model]
        torch.save(grads, folder / f"{processes.rank}.pt")
