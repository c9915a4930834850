"""All checks, in the order in which they run."""

from __future__ import annotations

from functools import partial

from zipformer.diagnosis.check import Check, Setting
from zipformer.diagnosis.largest import check_largest
from zipformer.diagnosis.machine import cards, compiler, probe, versions
from zipformer.diagnosis.operations import check_operations
from zipformer.diagnosis.speed import Size, check_speed
from zipformer.diagnosis.steps import Format, check_step
from zipformer.diagnosis.tiny_runs import check_resume
from zipformer.diagnosis.together import check_nccl, check_starving, check_torchrun
from zipformer.diagnosis.waiting import check_waits

FORMATS: tuple[Format, ...] = ("fp32", "bf16", "fp16")
SIZES: tuple[Size, ...] = ("S", "M", "L")
VERSIONS, SPEED = "versions", "speed of"  # names that the report looks for
SECONDS = 470.0  # for all checks together, of eight minutes
LARGEST_SECONDS = 150.0  # more for the largest batch of each size


def all_checks(setting: Setting, largest: bool) -> list[Check]:
    """Everything that is to be tried, cheap things first.

    Args:
        setting: Where.
        largest: Whether the largest batches are searched for.
    """
    checks = [
        Check(VERSIONS, versions, 30.0),
        Check("GPUs", cards, 60.0, "there is none to look at"),
        Check("compiler", compiler, 10.0),
        Check("first kernel", probe, 60.0, "PyTorch code does the work elsewhere"),
        Check("operations", check_operations, 150.0),
        *(Check(f"step in {f}", partial(check_step, format=f), 90.0) for f in FORMATS),
        Check("waits", check_waits, 60.0, "results of a CPU are there at once"),
        Check("stop and resume", check_resume, 90.0),
        Check("NCCL", check_nccl, 60.0, "NCCL connects these alone"),
        Check("torchrun", check_torchrun, 160.0),
        Check("out of memory in one process", check_starving, 130.0),
    ]
    if setting.device == "cpu":
        checks.append(Check(f"{SPEED} a toy", partial(check_speed, size="toy"), 60.0))
    why = "the times of a CPU tell nothing about one; scripts/dev/bench_step.py measures a CPU's"
    for size in SIZES:
        checks.append(Check(f"{SPEED} {size}", partial(check_speed, size=size), 90.0, why))
    for size in SIZES if largest else ():
        name = f"largest batch of {size}"
        work = partial(check_largest, size=size)
        checks.append(Check(name, work, LARGEST_SECONDS, "its memory is what is searched"))
    return checks
