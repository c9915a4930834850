"""Every operation that has kernels against its plain formula on a CPU, with its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from zipformer import ops
from zipformer.diagnosis.check import Found, Setting

# Largest difference in parts of the largest value: some roundings of the type, or of a long sum.
BOUNDS = {torch.float32: 2e-4, torch.bfloat16: 4e-2, torch.float16: 5e-3}

Inputs = Mapping[str, Tensor]
Case = Callable[[Inputs], Sequence[Tensor]]  # an operation on inputs, gradients among its results


def check_operations(setting: Setting) -> Found:
    """Compares values and gradients in all number formats that training uses on the device.

    Raises:
        ArithmeticError: Naming operations whose numbers are wrong.
    """
    device = torch.device(setting.device)
    worst, wrong = ("", 0.0), []
    for dtype, bound in BOUNDS.items():
        for name, (case, inputs) in _cases(dtype).items():
            error = _error(case, inputs, device)
            if not error <= bound:
                wrong.append(f"{name} in {_short(dtype)}: {error:.1e}, more than {bound:.0e}")
            worst = max(worst, (f"{name} in {_short(dtype)}", error / bound), key=lambda w: w[1])
    if wrong:
        raise ArithmeticError(f"differences to the plain formulas: {'; '.join(wrong)}")
    why_not = ops.probe(device)
    what = f"PyTorch code, as {why_not}" if why_not else "kernels"
    return Found(f"{what}; the worst is {worst[0]}, at {100 * worst[1]:.0f} % of its bound")


@contextmanager
def exact_float32() -> Iterator[None]:
    """Inside, no product of float32 numbers is made of TF32 ones, convolutions included."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _error(case: Case, inputs: Inputs, device: torch.device) -> float:
    """The largest difference of any result, in parts of its largest value; NaN if it is there."""
    with exact_float32():
        with ops.use("reference"):
            wanted = case({name: _wide(x).clone() for name, x in inputs.items()})
        with ops.use("fused"):
            found = case({name: x.to(device, copy=True) for name, x in inputs.items()})
    errors = [
        ((a.detach().double().cpu() - b.detach()).abs().max() / b.detach().abs().max()).item()
        for a, b in zip(found, wanted, strict=True)
    ]
    return float("nan") if any(e != e for e in errors) else max(errors)


def _wide(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _cases(dtype: torch.dtype) -> dict[str, tuple[Case, Inputs]]:
    """Operations on inputs of odd sizes; those of the lattice are computed in float32 alone."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    x, grad, channels = normal(7, 33, 96), normal(7, 33, 96), normal(96)
    frames = {"x": x.flatten(0, 1), "valid": torch.arange(231) % 7 < 5}
    conv = {"x": x, "weight": normal(96, 1, 7), "bias": channels}
    image = {"x": normal(2, 32, 21, 19), "weight": normal(32, 1, 7, 7)}
    cases: dict[str, tuple[Case, Inputs]] = {
        "SwooshL": (_with_gradients(lambda i: ops.swoosh_l(i["x"])), {"x": 4 * x}),
        "SwooshR": (_with_gradients(lambda i: ops.swoosh_r(i["x"])), {"x": 4 * x}),
        "channel moments": (lambda i: ops.channel_moments(i["x"], i["valid"]), frames),
        "balance": (_balance, {"x": x, "grad": grad, "a": channels, "b": normal(96)}),
        "depthwise convolution": (_with_gradients(_convolve), conv),
        "depthwise convolution in two dimensions": (
            _with_gradients(lambda i: ops.depthwise_conv2d(i["x"], i["weight"])),
            image,
        ),
        "joiner": (_join, _joiner_inputs(normal)),
        "arcs": (_arcs, _arc_inputs(normal)),
    }
    norm = {"x": x, "bias": 0.1 * channels.float(), "log_scale": torch.tensor(0.3)}
    cases["BiasNorm"] = _with_gradients(_normalize), norm
    if dtype == torch.float32:
        cases["smoothed arcs"] = _with_gradients(_smoothed), _smoothed_inputs(normal)
        cases["lattice"] = _lattice, _lattice_inputs(normal)
        cases["lattice of a band"] = _band, _band_inputs(normal)
    return cases


def _with_gradients(operation: Callable[[Inputs], Tensor]) -> Case:
    """The operation, and the gradients of a weighted sum of its results."""

    def run(inputs: Inputs) -> list[Tensor]:
        leaves = [x.requires_grad_() for x in inputs.values() if x.is_floating_point()]
        y = operation(inputs)
        weights = torch.linspace(-1.0, 1.0, y.numel(), dtype=torch.float64).view(y.shape)
        return [y, *torch.autograd.grad(y, leaves, weights.to(y.device, y.dtype))]

    return run


def _balance(i: Inputs) -> list[Tensor]:
    return [ops.balance(i["grad"], i["x"], i["a"], i["b"])]


def _convolve(i: Inputs) -> Tensor:
    return ops.depthwise_conv(i["x"], i["weight"], i["bias"], padding=3)


def _normalize(i: Inputs) -> Tensor:
    return ops.bias_norm(i["x"], i["bias"], i["log_scale"])


def _joiner_inputs(normal: Callable[..., Tensor]) -> Inputs:
    begin = (torch.arange(29) // 4).expand(3, -1)
    kept = begin.unsqueeze(2) + torch.arange(5)
    return {"am": normal(3, 29, 96), "lm": normal(3, 13, 96), "kept": kept}


def _join(i: Inputs) -> list[Tensor]:
    hidden = ops.join(i["am"], i["lm"], i["kept"])
    lm_grad = torch.zeros_like(i["lm"], dtype=torch.promote_types(torch.float32, i["lm"].dtype))
    am_grad = ops.unjoin(hidden.flip(1).contiguous(), hidden, i["kept"], lm_grad)
    return [hidden, am_grad, lm_grad]


def _arc_inputs(normal: Callable[..., Tensor]) -> Inputs:
    return {"logits": normal(143, 500), "next": torch.arange(143) * 3 % 499 + 1}


def _arcs(i: Inputs) -> list[Tensor]:
    arcs = ops.arcs(i["logits"], i["next"], blank=0)
    token_grad = torch.linspace(0.0, 1.0, len(i["next"]), device=i["next"].device)
    token_grad = token_grad.to(arcs.token.dtype)
    token, blank = arcs.token.clone(), arcs.blank.clone()
    return [token, blank, arcs.gradient(token_grad, 1.0 - token_grad)]


def _smoothed_inputs(normal: Callable[..., Tensor]) -> Inputs:
    symbols = torch.arange(24).view(2, 12) % 99 + 1
    return {"am": normal(2, 31, 100), "lm": normal(2, 13, 100), "symbols": symbols}


def _smoothed(i: Inputs) -> Tensor:
    px, py = ops.smoothed_arcs(i["am"], i["lm"], i["symbols"], 0.25, 0.0, blank=0)
    return torch.cat([px, py], dim=2)


def _lattice_inputs(normal: Callable[..., Tensor]) -> Inputs:
    boundary = torch.tensor([[0, 0, 12, 50], [0, 0, 7, 41]])
    return {"px": normal(2, 50, 12) - 3, "py": normal(2, 50, 13) - 1, "boundary": boundary}


def _lattice(i: Inputs) -> Sequence[Tensor]:
    return ops.lattice(i["px"], i["py"], i["boundary"], regular=True)


def _band_inputs(normal: Callable[..., Tensor]) -> Inputs:
    begin = (torch.arange(50) // 6).clamp(max=8).expand(2, -1).contiguous()
    boundary = torch.tensor([[0, 0, 12, 50], [0, 0, 11, 49]])
    token, blank = normal(2, 50, 5) - 3, normal(2, 50, 5) - 1
    return {"token": token, "blank": blank, "begin": begin, "boundary": boundary}


def _band(i: Inputs) -> Sequence[Tensor]:
    rows = 13  # U + 1
    return ops.band_lattice(i["token"], i["blank"], i["begin"], i["boundary"], True, rows)
