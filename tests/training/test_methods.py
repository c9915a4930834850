"""Every method learns, goes on after an interruption, and decodes in any context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training.tiny_corpus import MODEL, tiny_asr_config, write_corpus

from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.loading import load_model
from zipformer.config import LossConfig, RunConfig
from zipformer.config.method import MethodConfig
from zipformer.context import Context, parse_contexts
from zipformer.data.batch import Batch
from zipformer.evaluation.evaluate import decode_batches
from zipformer.losses import similarity_distance
from zipformer.model import AsrModel
from zipformer.streaming import Recognizer
from zipformer.training.asr import AsrTask
from zipformer.training.context_sampler import ContextSampler
from zipformer.training.distributed import Processes
from zipformer.training.loop import fit
from zipformer.training.methods import Single, StepLoss, make_method
from zipformer.training.methods.base import StepInfo
from zipformer.training.methods.cr_ctc import CrCtc
from zipformer.training.methods.dual import Dual
from zipformer.training.methods.multi_decoder import MultiDecoder

WARM = LossConfig(warm_steps=0, ctc_scale=0.2)
STREAMING = StepInfo(step=4, context=Context(32, 64, 32), right_mode="masked")
CTC_ONLY = {
    "model": replace(MODEL, transducer=False),
    "loss": LossConfig(warm_steps=4, transducer_scale=0.0, ctc_scale=1.0),
}
METHODS = {
    "sampled": MethodConfig("sampled"),
    "dual": MethodConfig("dual"),
    "distill": MethodConfig("dual", distill=0.5, distill_shift=1),
    "consistency": MethodConfig("dual", consistency=0.3, ctc_consistency=0.1),
    "multi_decoder": MethodConfig("multi_decoder", encoder_similarity=1, decoder_similarity=1),
    "cr_ctc": MethodConfig("cr_ctc", ctc_consistency=0.2),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def config_of(name: str, corpus: Path, exp_dir: Path, **train: Any) -> RunConfig:
    base = tiny_asr_config(corpus, exp_dir, **train)
    data = base.data
    if name == "cr_ctc":
        data = replace(data, spec_augment=replace(data.spec_augment, views=2))
    return replace(
        base,
        method=METHODS[name],
        context=replace(base.context, chunk=(32,)),
        data=data,
        **(CTC_ONLY if name == "cr_ctc" else {}),
    )


def outcome(
    method: MethodConfig, step: StepInfo, corpus: Path, tmp_path: Path, loss: LossConfig = WARM
) -> tuple[StepLoss, AsrModel]:
    """What a method makes of a batch, without dropout."""
    config = tiny_asr_config(corpus, tmp_path)
    config = replace(config, loss=loss, context=replace(config.context, chunk=(32,)), method=method)
    torch.manual_seed(0)
    model = AsrTask(config).build_model().eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape) / p[0].numel() ** 0.5)
    return make_method(config).loss(model, make_batch(), step), model


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 120, 80, generator=generator)
    lengths, tokens = torch.tensor([120, 95, 80]), [[5, 6, 7], [8, 9], [4]]
    return Batch(features, lengths, tokens, ["", "", ""], ["a", "b", "c"], 2.95)


def gradients(loss: Tensor, model: AsrModel) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [torch.zeros(()) if g is None else g for g in found]


def test_dual_in_equal_contexts_is_twice_single(corpus: Path, tmp_path: Path) -> None:
    full = replace(STREAMING, context=Context.full())
    one, model = outcome(MethodConfig(), full, corpus, tmp_path)
    wanted = one.loss.detach(), gradients(one.loss, model)
    for method in (MethodConfig("dual"), MethodConfig("dual", distill=0.7, consistency=0.7)):
        two, model = outcome(method, full, corpus, tmp_path)
        assert two.loss.item() == pytest.approx(2 * wanted[0].item(), rel=1e-6)
        assert two.frames == one.frames
        for a, b in zip(gradients(two.loss, model), wanted[1], strict=True):
            torch.testing.assert_close(a, 2 * b, rtol=1e-4, atol=1e-3)
    plain, _ = outcome(MethodConfig("dual"), full, corpus, tmp_path)
    assert torch.equal(plain.loss.detach(), 2 * wanted[0])


def test_a_dual_loss_is_the_sum_of_its_modes_and_of_what_is_between(
    corpus: Path, tmp_path: Path
) -> None:
    weights = {"offline_weight": 0.5, "streaming_weight": 2.0}
    method = MethodConfig("dual", **weights, distill=0.1, consistency=0.3, ctc_consistency=0.2)  # type: ignore[arg-type]
    warm = replace(WARM, warm_steps=8)  # half of it has passed at step 4
    found, _ = outcome(method, STREAMING, corpus, tmp_path, warm)
    parts = found.parts
    modes = [
        0.75 * parts[f"{mode}_simple"] + 0.55 * parts[f"{mode}_pruned"] + 0.2 * parts[f"{mode}_ctc"]
        for mode in ("offline", "streaming")
    ]
    names = ("distill", "consistency", "ctc_consistency")
    between = sum(getattr(method, name) * parts[name] for name in names)
    assert all(parts[name] > 1e-4 for name in names), parts
    torch.testing.assert_close(found.loss, 0.5 * modes[0] + 2.0 * modes[1] + 0.5 * between)


def test_multi_decoder_has_heads_for_each_mode_and_one_encoder(
    corpus: Path, tmp_path: Path
) -> None:
    found, model = outcome(METHODS["multi_decoder"], STREAMING, corpus, tmp_path)
    assert model.heads_at(Context.full()) is model
    heads = model.heads_at(STREAMING.context)
    assert heads is model.streaming
    assert heads.joiner is not None and heads.joiner is not model.joiner
    grads = torch.autograd.grad(
        found.parts["offline_pruned"], list(heads.joiner.parameters()), allow_unused=True
    )
    assert grads == (None,) * len(grads)  # each mode teaches its own heads only
    batch = make_batch()
    outs = []
    for context in (Context.full(), STREAMING.context):
        out, lengths = model.encoder(batch.features, batch.feature_lens, context, "masked")
        outs.append(out)
    apart = found.frames * similarity_distance(*outs, lengths)
    torch.testing.assert_close(found.parts["encoder_similarity"], apart)
    assert apart > 0 and found.parts["decoder_similarity"] > 0


def test_states_of_attention_decoders_are_compared_and_not_computed_twice(
    corpus: Path, tmp_path: Path
) -> None:
    sizes = {"aed_layers": 1, "aed_dim": 8, "aed_heads": 2, "aed_feedforward_dim": 12}
    base = config_of("multi_decoder", corpus, tmp_path)
    config = replace(
        base,
        model=replace(MODEL, transducer=False, attention_decoder=True, **sizes),
        loss=LossConfig(warm_steps=0, transducer_scale=0.0, ctc_scale=0.2, aed_scale=0.8),
    )
    model = AsrTask(config).build_model().eval()
    found = MultiDecoder(config).loss(model, make_batch(), STREAMING)
    assert found.parts["decoder_similarity"] > 0
    plain = replace(config, method=MethodConfig("multi_decoder"))
    alone = MultiDecoder(plain).loss(model, make_batch(), STREAMING)
    for mode in ("offline", "streaming"):
        assert torch.equal(found.parts[f"{mode}_aed"], alone.parts[f"{mode}_aed"])


@pytest.mark.parametrize("shift", [-2, 2])
def test_an_utterance_that_is_empty_after_shifting_adds_nothing(
    shift: int, corpus: Path, tmp_path: Path
) -> None:
    config = tiny_asr_config(corpus, tmp_path)
    method = MethodConfig("dual", distill=1.0, distill_shift=shift)
    config = replace(config, loss=WARM, context=replace(config.context, chunk=(32,)), method=method)
    model = AsrTask(config).build_model().eval()
    batch = Batch(torch.randn(1, 12, 80), torch.tensor([12]), [[]], [""], ["a"], 0.12)
    found = Dual(config).loss(model, batch, STREAMING)
    assert found.frames <= 2
    assert found.parts["distill"] == 0.0 and found.loss.isfinite()
    found.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_views_that_are_alike_are_not_apart(corpus: Path, tmp_path: Path) -> None:
    config = config_of("cr_ctc", corpus, tmp_path)
    model = AsrTask(config).build_model().eval()
    batch = make_batch()
    batch.second = batch.features.clone()
    alike = CrCtc(config).loss(model, batch, STREAMING)
    once = Single(config).loss(model, batch, STREAMING)
    assert alike.parts["ctc_consistency"].item() == pytest.approx(0.0, abs=1e-4)
    torch.testing.assert_close(alike.loss, once.loss, rtol=1e-5, atol=1e-4)
    batch.second = torch.randn(batch.features.shape)
    apart = CrCtc(config).loss(model, batch, STREAMING)
    assert apart.parts["ctc_consistency"] > 1e-3


def test_sampled_steps_are_in_full_context_in_their_share(corpus: Path, tmp_path: Path) -> None:
    config = config_of("sampled", corpus, tmp_path)
    sampler = ContextSampler(config.context, config.encoder, 1, full_share=0.3)
    drawn = [sampler.sample(step)[0] for step in range(2000)]
    assert sum(c.is_full for c in drawn) / 2000 == pytest.approx(0.3, abs=0.04)
    assert len(set(drawn)) == 3  # and the menu


@pytest.mark.parametrize("name", METHODS)
def test_a_method_resumes_and_decodes_anywhere(name: str, corpus: Path, tmp_path: Path) -> None:
    def run(folder: str, **train: Any) -> Path:
        return fit(config_of(name, corpus, tmp_path / folder, num_epochs=1, **train))

    straight = checkpoint.load(run("straight") / "epoch-1.pt")
    run("resumed", max_steps=2)
    resumed = checkpoint.load(run("resumed") / "epoch-1.pt")
    assert straight["state"]["step"] > 2
    for key, value in straight["model"].items():
        assert torch.equal(value, resumed["model"][key]), key

    loaded = load_model(tmp_path / "straight", epoch=1, avg=1)
    task = AsrTask(loaded.config)
    for context in parse_contexts("full 32/64/0 32/64/32"):
        (path,) = task.config.data.valid
        batches = task.validation._batches(loaded.model, path, Processes(), limit=2)
        assert len(decode_batches(loaded, batches, context).utterances) == 2
    stream = Recognizer(loaded.model, loaded.tokenizer.tokens, Context(32, 64, 32)).open()
    stream.push(torch.randn(16000) * 0.1)
    stream.close()
