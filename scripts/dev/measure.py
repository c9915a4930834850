"""Times cases in units of one matrix product, so that figures of different machines compare.

A unit is the time of one 2048 x 2048 float32 product on the same device. It is taken again beside
every round of a case, because the speed of a shared machine drifts; ``units`` is the median of
the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

SIDE = 2048


@dataclass(frozen=True)
class Timing:
    """One line of a table: a case, milliseconds, the same in units, and other columns by name."""

    name: str
    ms: float
    units: float
    more: dict[str, float | str]


class Bench:
    """Times cases one after another, and prints them as a table or as one JSON object.

    Args:
        device: Where the cases run.
        rounds: Timed rounds of each case, after one to warm up; fewer where a case is slow.
        seconds: After how many seconds a case gets no further round.
    """

    def __init__(self, device: torch.device, rounds: int, seconds: float) -> None:
        self.device = device
        self.rounds = rounds
        self.seconds = seconds
        self.timings: list[Timing] = []
        self._units: list[float] = []
        torch.backends.cuda.matmul.allow_tf32 = False
        self._square = torch.randn(SIDE, SIDE, device=device)
        for _ in range(3):
            self._clock(self._product)

    def run(self, name: str, work: Callable[[], object], **more: float | str) -> Timing:
        """Times ``work``; ``more`` are further columns of its line."""
        work()
        times: list[float] = []
        ratios: list[float] = []
        start = time.perf_counter()
        while len(times) < self.rounds:
            before = self._clock(self._product)
            times.append(self._clock(work))
            unit = 0.5 * (before + self._clock(self._product))
            self._units.append(unit)
            ratios.append(times[-1] / unit)
            if time.perf_counter() - start > self.seconds:
                break
        timing = Timing(name, 1e3 * statistics.median(times), statistics.median(ratios), more)
        self.timings.append(timing)
        return timing

    @property
    def unit_ms(self) -> float:
        """The median time of the unit, over all cases."""
        return 1e3 * statistics.median(self._units)

    def print(self, as_json: bool) -> None:
        """Everything measured so far."""
        if as_json:
            cases = [
                {"name": t.name, "ms": round(t.ms, 3), "units": round(t.units, 4), **t.more}
                for t in self.timings
            ]
            print(json.dumps({"unit_ms": round(self.unit_ms, 3), "cases": cases}))
            return
        where = f"{self.device}, torch {torch.__version__}, {torch.get_num_threads()} threads"
        print(f"{where}; unit = one {SIDE} x {SIDE} product, {self.unit_ms:.1f} ms")
        width = max((len(t.name) for t in self.timings), default=0)
        for t in self.timings:
            more = "".join(f"  {k} {_short(v)}" for k, v in t.more.items())
            print(f"{t.name:{width}}  {t.ms:9.1f} ms  {t.units:7.2f} units{more}")

    def _product(self) -> object:
        return self._square @ self._square

    def _clock(self, work: Callable[[], object]) -> float:
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def options(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds of the first case of each kind"
    )
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12.0, help="at most, for a case")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice by default")
    return parser


def start(given: argparse.Namespace) -> Bench:
    """Sets seed and threads as the options say."""
    torch.manual_seed(0)
    if given.threads:
        torch.set_num_threads(given.threads)
    rounds = min(given.rounds, 3) if given.quick else given.rounds
    return Bench(given.device, rounds, given.seconds)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"
