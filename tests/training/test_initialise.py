"""A new run starts from other weights, and its report tells what became of each of them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
import torch
from nn.small_encoder import KINDS
from published_names import published_name
from torch import Tensor, nn
from training.tiny_corpus import ENCODER, VOCAB_SIZE, WORDS, write_tokenizer

from zipformer import Context
from zipformer.cli import to_dict
from zipformer.config import ContextConfig, LossConfig, ModelConfig, RunConfig
from zipformer.data.tokenizer import Tokenizer
from zipformer.model import AsrModel
from zipformer.training import checkpoint
from zipformer.training.averaging import ModelAverage
from zipformer.training.init_source import VOCABULARY
from zipformer.training.initialise import Initialised, initialise

MODEL = ModelConfig(predictor_dim=16, joiner_dim=16)
FEATURES, LENGTHS = torch.randn(2, 200, 80), torch.tensor([200, 150])


def fresh(seed: int = 7, vocab_size: int = VOCAB_SIZE, ctc: bool = False) -> AsrModel:
    """A model before training; all its weights differ from those of another seed."""
    torch.manual_seed(seed)
    model = AsrModel(ENCODER, vocab_size, replace(MODEL, ctc=ctc))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model.eval()


def write_checkpoint(
    path: Path,
    model: AsrModel,
    snapshots: int = 0,
    ctc: bool = False,
    heads: ModelConfig = MODEL,
) -> None:
    average = ModelAverage(model)
    for _ in range(snapshots):
        average.add(model)
    config = RunConfig(
        encoder=ENCODER,
        model=replace(heads, ctc=ctc or heads.ctc),
        loss=LossConfig(transducer_scale=float(heads.transducer), ctc_scale=float(heads.ctc)),
        context=ContextConfig(chunk=(32, -1), left=(64,), right=(0,)),
    )
    content = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "config": to_dict(config),
        "files": {"bpe.model": checkpoint.sha256(path.parent / "bpe.model")},
        "state": {"step": 5, "audio_seconds": 50.0},
    }
    checkpoint.save(path, content)


def write_published(path: Path, model: AsrModel, **more: Tensor) -> None:
    weights = {published_name(n, ENCODER): v for n, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": weights | more, "exp_dir": Path("/exp"), "optimizer": None}, path)


def write_tokens(path: Path, tokens: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{token} {i}" for i, token in enumerate([*tokens, "#0", "#1"])]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("lang") / "bpe.model"
    write_tokenizer(path)
    return Tokenizer(path)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A vocabulary with some tokens of the other one, at other places, and some of its own."""
    path = tmp_path_factory.mktemp("lang") / "bpe.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(reversed(WORDS)), "a quick dog jumps"] * 20),
        model_prefix=str(path.with_suffix("")),
        model_type="char",
        vocab_size=40,
        hard_vocab_limit=False,
        user_defined_symbols=["<blk>", "<sos/eos>"],
        unk_id=2,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return Tokenizer(path)


@pytest.fixture
def run(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """The folder of a run with the weights of ``fresh(1)`` after its first epoch."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copyfile(tokenizer.path, folder / "bpe.model")
    write_checkpoint(folder / "epoch-1.pt", fresh(1), snapshots=2)
    return folder


def different(a: nn.Module, b: nn.Module) -> set[str]:
    """Names of the parameters of ``a`` that ``b`` lacks or has otherwise."""
    theirs = b.state_dict()
    return {n for n, v in a.state_dict().items() if n not in theirs or not v.equal(theirs[n])}


def check_complete(report: Initialised, model: nn.Module) -> None:
    """Every parameter has one fate."""
    fates = [*report.loaded, *report.adapted, *report.reinitialised]
    assert sorted(fates) == sorted(model.state_dict())


@pytest.mark.parametrize("name", ["", "epoch-1.pt"])
def test_a_run_is_taken_over_whole(run: Path, tokenizer: Tokenizer, name: str) -> None:
    model = fresh()
    assert different(model, fresh(1)) == set(model.state_dict())
    report = initialise(model, run / name, tokenizer)
    assert not different(model, fresh(1))
    assert set(report.loaded) == set(model.state_dict())
    assert not (report.adapted or report.reinitialised or report.dropped)
    assert "epoch-1.pt" in report.source
    assert "24 of 24 tokens" in str(report)


def test_of_a_run_the_average_over_the_last_epoch_is_taken(run: Path, tokenizer: Tokenizer) -> None:
    average = checkpoint.load(run / "epoch-1.pt")["average"]
    write_checkpoint(run / "epoch-2.pt", fresh(2))
    content = checkpoint.load(run / "epoch-2.pt")
    later = ModelAverage(fresh(2))
    later.load_state_dict(average)
    later.add(fresh(3))  # the only snapshot of the second epoch, whose end has other weights
    checkpoint.save(run / "epoch-2.pt", content | {"average": later.state_dict()})
    model = fresh()
    report = initialise(model, run, tokenizer)
    assert "epoch2-avg1" in report.source
    for name, value in fresh(3).state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    initialise(model, run / "epoch-2.pt", tokenizer)
    assert not different(model, fresh(2))  # a file is taken as it is


def test_a_run_too_young_for_an_average_gives_its_weights(run: Path, tokenizer: Tokenizer) -> None:
    write_checkpoint(run / "epoch-1.pt", fresh(1), snapshots=0)
    model = fresh()
    report = initialise(model, run, tokenizer)
    assert not different(model, fresh(1))
    assert "not averaged: between the start of training and epoch-1.pt no snapshot" in str(report)


def test_a_model_without_right_context_goes_on_with_one_from_the_same_outputs(
    run: Path, tokenizer: Tokenizer
) -> None:
    source = checkpoint.load_model(run).model
    config = RunConfig(
        encoder=ENCODER,
        model=MODEL,
        context=ContextConfig(chunk=(32, -1), left=(64,), right=(0, 32, 64)),
    )
    torch.manual_seed(7)
    model = AsrModel(config.encoder, tokenizer.vocab_size, config.model).eval()
    initialise(model, run, tokenizer)

    def outputs(model: AsrModel, context: Context) -> Tensor:
        encoded, _ = model.encoder(FEATURES, LENGTHS, context=context)
        return model.joiner(encoded, model.predictor(torch.tensor([[0]])))

    with torch.no_grad():
        at_zero = [outputs(m, Context(32, 64, 0)) for m in (source, model)]
        assert torch.equal(*at_zero)
        assert not torch.equal(outputs(model, Context(32, 64, 32)), at_zero[0])


def test_rows_of_shared_tokens_move_to_their_new_places(
    run: Path, tokenizer: Tokenizer, letters: Tokenizer
) -> None:
    shared = set(tokenizer.tokens) & set(letters.tokens)
    assert 3 < len(shared) < min(tokenizer.vocab_size, letters.vocab_size)
    start, source = fresh(vocab_size=letters.vocab_size), fresh(1)
    model = fresh(vocab_size=letters.vocab_size)
    report = initialise(model, run, letters)
    own = set(model.state_dict())
    assert set(report.adapted) == {n for n in VOCABULARY if n in own}
    assert set(report.loaded) == own - set(report.adapted)
    check_complete(report, model)
    assert f"{len(shared)} of {letters.vocab_size} tokens are among the 24" in str(report)
    for name in report.adapted:
        now, before, old = (m.state_dict()[name] for m in (model, start, source))
        for i, token in enumerate(letters.tokens):
            expected = old[tokenizer.tokens.index(token)] if token in shared else before[i]
            assert torch.equal(now[i], expected), f"{name}: {token}"


def test_a_head_that_one_side_lacks_starts_anew_or_is_left(run: Path, tokenizer: Tokenizer) -> None:
    ctc = {"ctc_output.1.weight", "ctc_output.1.bias"}
    model = fresh(ctc=True)
    report = initialise(model, run, tokenizer)
    assert set(report.reinitialised) == ctc
    assert different(model, fresh(1)) == ctc
    assert not different(model.ctc_output, fresh(ctc=True).ctc_output)
    check_complete(report, model)

    write_checkpoint(run / "epoch-1.pt", fresh(1, ctc=True), snapshots=1, ctc=True)
    model = fresh()
    report = initialise(model, run, tokenizer)
    assert set(report.dropped) == ctc
    assert "dropped: ctc_output.1.weight, ctc_output.1.bias" in str(report)
    assert not different(model, fresh(1, ctc=True))


AED = replace(
    MODEL,
    transducer=False,
    ctc=True,
    attention_decoder=True,
    aed_layers=1,
    aed_dim=8,
    aed_heads=2,
    aed_feedforward_dim=12,
)


def other_heads(seed: int, heads: ModelConfig = AED, vocab_size: int = VOCAB_SIZE) -> AsrModel:
    torch.manual_seed(seed)
    return AsrModel(ENCODER, vocab_size, heads).eval()


def test_a_transducer_becomes_a_model_of_other_heads(run: Path, tokenizer: Tokenizer) -> None:
    model = other_heads(7)
    report = initialise(model, run, tokenizer)
    assert not different(model.encoder, fresh(1).encoder)
    assert {n.split(".")[0] for n in report.reinitialised} == {"ctc_output", "attention_decoder"}
    assert {n.split(".")[0] for n in report.dropped} == {
        *("predictor", "joiner", "simple_am_proj", "simple_lm_proj"),
    }
    for head in ("ctc_output", "attention_decoder"):
        assert not different(getattr(model, head), getattr(other_heads(7), head))
    check_complete(report, model)


@pytest.mark.parametrize("published", [False, True], ids=["ours", "published"])
def test_an_attention_decoder_is_taken_over_where_both_have_one(
    run: Path, tokenizer: Tokenizer, published: bool
) -> None:
    path = run
    if published:
        path = run / "exp" / "pretrained.pt"
        write_published(path, other_heads(1))
        write_tokens(run / "exp" / "tokens.txt", tokenizer.tokens)
    else:
        write_checkpoint(run / "epoch-1.pt", other_heads(1), snapshots=1, heads=AED)
    model = other_heads(7)
    assert "attention_decoder.layers.0.src_attn.linear_k.weight" in different(model, other_heads(1))
    report = initialise(model, path, tokenizer)
    assert not different(model, other_heads(1))
    assert not (report.reinitialised or report.dropped or report.adapted)


def test_tokens_of_the_attention_decoder_move_to_their_new_places(
    run: Path, tokenizer: Tokenizer, letters: Tokenizer
) -> None:
    write_checkpoint(run / "epoch-1.pt", other_heads(1), snapshots=1, heads=AED)
    model = other_heads(7, vocab_size=letters.vocab_size)
    report = initialise(model, run, letters)
    parts = ("embed.weight", "output_layer.weight", "output_layer.bias")
    assert {f"attention_decoder.{part}" for part in parts} < set(report.adapted)
    old, new = (m.attention_decoder.embed.weight for m in (other_heads(1), model))
    assert torch.equal(new[letters.tokens.index("o")], old[tokenizer.tokens.index("o")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aed_layers": 2}, "attention_decoder.layers.1.*missing there.*model.aed_layers"),
        ({"aed_dim": 12}, r"attention_decoder.embed.weight: \(24, 8\) there.*model.aed_dim"),
        ({"aed_feedforward_dim": 16}, "look at model.aed_feedforward_dim"),
        ({"aed_heads": 4}, "model.aed_heads = 2 there, 4 here"),
    ],
    ids=["layers", "dim", "feedforward", "heads"],
)
def test_another_attention_decoder_is_refused_by_name(
    run: Path, tokenizer: Tokenizer, change: dict[str, int], message: str
) -> None:
    write_checkpoint(run / "epoch-1.pt", other_heads(1), snapshots=1, heads=AED)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        initialise(other_heads(7, replace(AED, **change)), run, tokenizer)


@pytest.mark.parametrize("where", ["exp/tokens.txt", "data/lang_bpe_500/tokens.txt", "bpe"])
def test_a_published_checkpoint_is_taken_over_with_its_tokens(
    tmp_path: Path, tokenizer: Tokenizer, where: str
) -> None:
    write_published(
        tmp_path / "exp" / "pretrained.pt",
        fresh(1),
        **{"attention_decoder.decoder.x": torch.ones(2)},
        **{"encoder.encoders.0.layers.0.bypass_scale": torch.ones(16)},
    )
    if where == "bpe":
        (tmp_path / "data" / "lang_bpe_500").mkdir(parents=True)
        shutil.copyfile(tokenizer.path, tmp_path / "data" / "lang_bpe_500" / "bpe.model")
    else:
        write_tokens(tmp_path / where, tokenizer.tokens)
    for path in (tmp_path / "exp" / "pretrained.pt", tmp_path / "exp"):
        model = fresh()
        report = initialise(model, path, tokenizer)
        assert not different(model, fresh(1))
        assert report.dropped == ("attention_decoder.x",)
        assert "its tokens are those of" in str(report)
        check_complete(report, model)


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (None, "there is no tokens.txt or bpe.model"),
        (["<blk>", "<sos/eos>", "<unk>", "a"], "tokens.txt has 4 tokens, not 24"),
        (["<blk> x y"], "no list of tokens"),
    ],
)
def test_without_its_tokens_what_belongs_to_them_starts_anew(
    tmp_path: Path, tokenizer: Tokenizer, tokens: list[str] | None, reason: str
) -> None:
    write_published(tmp_path / "exp" / "epoch-30.pt", fresh(1))
    if tokens:
        write_tokens(tmp_path / "exp" / "tokens.txt", tokens)
    model = fresh()
    report = initialise(model, tmp_path / "exp" / "epoch-30.pt", tokenizer)
    anew = {n for n in VOCABULARY if n in model.state_dict()}
    assert set(report.reinitialised) == anew
    assert different(model, fresh(1)) == anew
    assert reason in str(report)
    assert "what belongs to tokens starts anew" in str(report)


def test_a_published_encoder_alone_is_enough(tmp_path: Path, tokenizer: Tokenizer) -> None:
    weights = {
        published_name(n, ENCODER): v
        for n, v in fresh(1).state_dict().items()
        if n.startswith("encoder.")
    }
    torch.save(weights, tmp_path / "encoder.pt")
    model = fresh()
    report = initialise(model, tmp_path / "encoder.pt", tokenizer)
    assert not different(model.encoder, fresh(1).encoder)
    assert {n.split(".")[0] for n in report.reinitialised} == {
        *("predictor", "joiner", "simple_am_proj", "simple_lm_proj"),
    }
    check_complete(report, model)


@pytest.mark.parametrize(
    ("encoder", "model", "messages"),
    [
        (
            {"feedforward_dims": (16, 20)},
            {},
            [
                r"encoder.stacks.1.layers.0.feed_forward1.in_proj.weight: \(12, 16\) there, "
                r"\(15, 16\) here",
                "encoder.feedforward_dims",
            ],
        ),
        ({"num_layers": (1, 2)}, {}, ["encoder.stacks.1.layers.1.*missing there", "num_layers"]),
        ({"causal": False}, {}, ["depthwise_conv.*missing there", "encoder.causal"]),
        ({"feature_mean": -10.0}, {}, ["encoder.feature_mean = 0.0 there, -10.0 here"]),
        (
            {},
            {"predictor_dim": 20},
            [r"predictor.embedding.weight: \(24, 16\) there, \(24, 20\) here", "predictor_dim"],
        ),
        ({}, {"joiner_dim": 20}, ["joiner.encoder_proj.weight", "model.joiner_dim"]),
    ],
    ids=["feedforward", "layers", "causal", "features", "predictor", "joiner"],
)
@pytest.mark.parametrize("published", [False, True], ids=["ours", "published"])
def test_another_architecture_is_refused_by_name(
    run: Path,
    tokenizer: Tokenizer,
    encoder: dict[str, object],
    model: dict[str, int],
    messages: list[str],
    published: bool,
) -> None:
    path = run
    if published:
        path = run / "pretrained.pt"
        write_published(path, fresh(1))
    target = AsrModel(replace(ENCODER, **encoder), VOCAB_SIZE, replace(MODEL, **model))
    before = {n: v.clone() for n, v in target.state_dict().items()}
    for message in ["train.init_from: .* is of another architecture", *messages]:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            initialise(target, path, tokenizer)
    assert all(torch.equal(v, before[n]) for n, v in target.state_dict().items())


@pytest.mark.parametrize("published", [False, True], ids=["ours", "published"])
def test_another_kind_of_encoder_is_refused(
    run: Path, tokenizer: Tokenizer, published: bool
) -> None:
    if published:
        write_published(run / "pretrained.pt", fresh(1))
    target = AsrModel(KINDS["conformer"], VOCAB_SIZE, MODEL)
    with pytest.raises(ValueError, match=r"encoder.kind = zipformer there, conformer here"):
        initialise(target, run / "pretrained.pt" if published else run, tokenizer)


def test_an_activation_shows_in_no_shape_and_is_refused(run: Path, tokenizer: Tokenizer) -> None:
    write_published(run / "pretrained.pt", fresh(1))
    target = AsrModel(replace(ENCODER, activation="swish"), VOCAB_SIZE, MODEL)
    for path in (run, run / "pretrained.pt"):
        with pytest.raises(ValueError, match="encoder.activation = swoosh there, swish here"):
            initialise(target, path, tokenizer)


def test_a_deeper_published_encoder_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    deeper = AsrModel(replace(ENCODER, num_layers=(1, 2)), VOCAB_SIZE, MODEL)
    write_published(tmp_path / "pretrained.pt", deeper)
    with pytest.raises(ValueError, match=r"(?s)stacks.1.layers.1.*missing here.*num_layers"):
        initialise(fresh(), tmp_path / "pretrained.pt", tokenizer)
    write_published(tmp_path / "other.pt", fresh(1), **{"encoder.new.weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"encoder.new.weight: missing here"):
        initialise(fresh(), tmp_path / "other.pt", tokenizer)


def test_what_only_steers_training_may_change(run: Path, tokenizer: Tokenizer) -> None:
    encoder = replace(ENCODER, unmasked_dims=(8, 8))
    model = AsrModel(encoder, VOCAB_SIZE, MODEL)
    assert not initialise(model, run, tokenizer).reinitialised


def test_a_file_that_could_run_code_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"model": {}, "params": Harmful()}, tmp_path / "epoch-9.pt")
    with pytest.raises(ValueError, match=r"epoch-9.pt is refused: it names posix.mkdir"):
        initialise(fresh(), tmp_path / "epoch-9.pt", tokenizer)
    assert not (tmp_path / "made").exists()


def test_what_is_not_there_is_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        initialise(fresh(), tmp_path / "nowhere", tokenizer)
    with pytest.raises(FileNotFoundError, match="holds nothing to start from"):
        initialise(fresh(), tmp_path, tokenizer)
    torch.save({"weights": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds no Zipformer.*it has weights"):
        initialise(fresh(), tmp_path / "a.pt", tokenizer)
    write_published(tmp_path / "exp" / "epoch-3.pt", fresh(1))
    with pytest.raises(ValueError, match="name a file: --init-from .*epoch-3.pt"):
        initialise(fresh(), tmp_path / "exp", tokenizer)


def test_the_report_counts_many_names_by_part(run: Path, tokenizer: Tokenizer) -> None:
    model = fresh(ctc=True)
    lines = str(initialise(model, run, tokenizer)).splitlines()
    count = len(model.state_dict()) - 2
    assert lines[0] == f"weights from {run / 'epoch-1.pt'} (epoch1-avg1)"
    assert lines[1].startswith(f"  loaded: {count} parameters (encoder {count - 12}, predictor 2,")
    assert lines[2:5] == [
        "  adapted: none",
        "  reinitialised: ctc_output.1.weight, ctc_output.1.bias",
        "  dropped: none",
    ]
