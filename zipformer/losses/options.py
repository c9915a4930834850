"""What every transducer loss may be asked for."""

from __future__ import annotations

from typing import TypedDict

from zipformer.losses.checks import Reduction, RnntType
from zipformer.losses.emission import PLAIN, Emission


class LossOptions(TypedDict, total=False):
    """With the meaning that they have in ``smoothed_transducer_loss``."""

    blank: int
    rnnt_type: RnntType
    reduction: Reduction
    emission: Emission


DEFAULTS: LossOptions = {
    "blank": 0,
    "rnnt_type": "regular",
    "reduction": "none",
    "emission": PLAIN,
}
