"""Training methods, a file each; ``method.kind`` of the config chooses.

A method says in which contexts a batch is encoded and what is asked of the encodings. What its
settings must satisfy stands beside them, in ``zipformer.config.method``.
"""

from zipformer.config import RunConfig
from zipformer.training.methods.base import Method, StepLoss
from zipformer.training.methods.cr_ctc import CrCtc
from zipformer.training.methods.dual import Dual
from zipformer.training.methods.multi_decoder import MultiDecoder
from zipformer.training.methods.sampled import Sampled
from zipformer.training.methods.single import Single

__all__ = ["METHODS", "Method", "Single", "StepLoss", "make_method"]

METHODS: dict[str, type[Method]] = {
    "single": Single,
    "sampled": Sampled,
    "dual": Dual,
    "multi_decoder": MultiDecoder,
    "cr_ctc": CrCtc,
}


def make_method(config: RunConfig) -> Method:
    """The training method of a run."""
    return METHODS[config.method.kind](config)
