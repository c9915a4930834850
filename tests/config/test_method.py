"""A method that cannot do what its settings say is refused at load, with the key and a remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from zipformer import ZipformerConfig
from zipformer.config import (
    ContextConfig,
    DataConfig,
    LossConfig,
    ModelConfig,
    RunConfig,
    SpecAugmentConfig,
)
from zipformer.config.method import MethodConfig

FINITE = ContextConfig(chunk=(32, 64))
CTC = {"model": ModelConfig(ctc=True), "loss": LossConfig(ctc_scale=0.2)}
TWO_VIEWS = DataConfig(spec_augment=SpecAugmentConfig(views=2))
OFFLINE = {
    "encoder": ZipformerConfig(causal=False),
    "context": ContextConfig(chunk=(-1,)),
}


@pytest.mark.parametrize(
    "method",
    [
        MethodConfig(),
        MethodConfig("sampled", offline_share=0.3),
        MethodConfig("dual", distill=0.1, distill_shift=-2, consistency=0.3),
        MethodConfig("multi_decoder", encoder_similarity=1.0, decoder_similarity=1.0),
    ],
    ids=lambda m: m.kind,
)
def test_what_is_possible_is_accepted(method: MethodConfig) -> None:
    RunConfig(method=method, context=FINITE)


def test_cr_ctc_has_all_it_needs() -> None:
    RunConfig(method=MethodConfig("cr_ctc", ctc_consistency=0.2), data=TWO_VIEWS, **CTC)


@pytest.mark.parametrize(
    "method,changes,message",
    [
        (MethodConfig(distill=-1.0), {}, "method.distill = -1 is negative"),
        (MethodConfig("sampled", offline_share=2.0), {}, "between 0 and 1"),
        (MethodConfig("dual", distill_shift=3), {}, "use -2 to 2"),
        (MethodConfig("dual"), {"context": ContextConfig()}, "take -1 out of context.chunk"),
        (MethodConfig("dual"), OFFLINE, "needs encoder.causal = true"),
        (MethodConfig(distill=0.1), {}, "use kind = dual, or distill = 0"),
        (MethodConfig("dual", encoder_similarity=1.0), {}, "use kind = multi_decoder"),
        (MethodConfig("sampled", ctc_consistency=0.1), CTC, "use kind = dual or cr_ctc"),
        (MethodConfig("dual", ctc_consistency=0.1), {}, "needs model.ctc = true"),
        (MethodConfig("cr_ctc"), CTC, "method.ctc_consistency > 0"),
        (MethodConfig("cr_ctc", ctc_consistency=0.2), CTC, "spec_augment.views = 2"),
        (MethodConfig(), {"data": TWO_VIEWS}, "nobody looks at"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_is_named(method: MethodConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(method=method, **{"context": FINITE} | changes)


@pytest.mark.parametrize("key", ["distill", "consistency"])
def test_divergences_on_the_lattice_need_a_transducer(key: str) -> None:
    method = replace(MethodConfig("dual"), **{key: 0.1})
    heads = {
        "model": ModelConfig(transducer=False, ctc=True),
        "loss": LossConfig(transducer_scale=0.0, ctc_scale=1.0),
    }
    with pytest.raises(ValueError, match="set model.transducer = true"):
        RunConfig(method=method, context=FINITE, **heads)
