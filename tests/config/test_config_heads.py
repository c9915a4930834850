"""Which heads a model has and what they weigh must fit together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zipformer.config import LossConfig, ModelConfig, RunConfig
from zipformer.config.reading import from_dict
from zipformer.config.toml import to_dict

CTC = ModelConfig(transducer=False, ctc=True)
AED = replace(CTC, attention_decoder=True)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (ModelConfig(), LossConfig()),
        (ModelConfig(ctc=True), LossConfig()),
        (ModelConfig(ctc=True), LossConfig(ctc_scale=0.2)),
        (CTC, LossConfig(transducer_scale=0.0, ctc_scale=1.0)),
        (AED, LossConfig(transducer_scale=0.0, ctc_scale=0.1, aed_scale=0.9)),
        (replace(AED, transducer=True), LossConfig(ctc_scale=0.1, aed_scale=0.9)),
    ],
)
def test_heads_alone_or_together_are_written_down_and_read_again(
    model: ModelConfig, loss: LossConfig
) -> None:
    config = RunConfig(model=model, loss=loss)
    assert from_dict(to_dict(config)) == config


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (replace(CTC, ctc=False), LossConfig(), "no head recognises .*model.ctc = true"),
        (replace(AED, ctc=False), LossConfig(), "an attention decoder alone recognises nothing"),
        (CTC, LossConfig(ctc_scale=1.0), "loss.transducer_scale > 0 needs model.transducer = true"),
        (CTC, LossConfig(ctc_scale=1.0), "or set loss.transducer_scale = 0"),
        (ModelConfig(), LossConfig(ctc_scale=0.2), "loss.ctc_scale > 0 needs model.ctc = true"),
        (CTC, LossConfig(aed_scale=0.9, transducer_scale=0.0), "model.attention_decoder = true"),
        (CTC, LossConfig(transducer_scale=0.0), "nothing would be learned; set loss.ctc_scale"),
        (ModelConfig(), LossConfig(transducer_scale=-1.0), "transducer_scale = -1 is negative"),
        (ModelConfig(), LossConfig(label_smoothing=1.0), "loss.label_smoothing must be at least 0"),
    ],
)
def test_contradictions_name_the_key_and_the_remedy(
    model: ModelConfig, loss: LossConfig, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(model=model, loss=loss)


def test_a_config_stored_before_there_were_other_heads_is_a_transducers() -> None:
    stored = to_dict(RunConfig(model=ModelConfig(ctc=True), loss=LossConfig(ctc_scale=0.2)))
    for section, kept in (
        ("model", {"predictor_dim", "joiner_dim", "context_size", "ctc"}),
        ("loss", {"prune_range", "ctc_scale", "warm_steps"}),
    ):
        stored[section] = {k: v for k, v in stored[section].items() if k in kept}
    config = from_dict(stored)
    assert config.model.heads == ("transducer", "ctc")
    assert (config.loss.transducer_scale, config.loss.aed_scale) == (1.0, 0.0)
