"""What is stored or sent stays as it is: samples that were written at commit b000109.

They lie in ``assets/frozen``: checkpoints and their folders, configs, results, the choice of an
epoch, names of searches, messages on the wire (their words and numbers were written anew for the
weights of commit 66447cb), exported graphs (the operators of the offline encoder were counted anew,
14 fewer, when the relative shift asked for fewer sizes). Numbers that come out of a model
are compared with a tolerance, as another processor rounds in another way; texts are compared whole.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest
import soundfile
import torch
from export.small_export import TOKENS, expressive_transducer
from trained_digits import trained
from training.tiny_corpus import tiny_asr_config, write_corpus

from zipformer.checkpoint.loading import load_model
from zipformer.config.command_line import load_config
from zipformer.config.toml import to_toml
from zipformer.context import Context
from zipformer.evaluation.candidates import SELECTION, read_selection
from zipformer.evaluation.results import (
    FIGURES,
    read_recognized,
    read_result,
    write_result,
)
from zipformer.export import export_offline, export_streaming
from zipformer.serving.messages import error_message, result_message
from zipformer.streaming import Recognizer
from zipformer.training.loop import fit
from zipformer.training.metrics import read_metrics

FROZEN = Path(__file__).parent / "assets" / "frozen"
# What a record says of the clock, the machine, and the process since its start.
PROCESS = ("hours_per_hour", "eta_seconds", "done", "memory_mb", "balancer", "whiten")


def frozen(name: str) -> Any:
    return json.loads((FROZEN / name).read_text(encoding="utf-8"))


@torch.no_grad()
@pytest.mark.parametrize("run", ["single", "multi_decoder"])
def test_a_run_is_loaded_and_computes_what_it_did(run: str) -> None:
    loaded = load_model(FROZEN / run)
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(2, 200, 80, generator=generator) * 2 - 5
    for context, wanted in frozen("heard.json")[run].items():
        out, _ = loaded.model.encoder(features, torch.tensor([200, 150]), Context.parse(context))
        assert out.mean().item() == pytest.approx(wanted["encoder_mean"], abs=1e-4)
        assert out.std().item() == pytest.approx(wanted["encoder_std"], rel=1e-4)
        heads = loaded.model.heads_at(Context.parse(context))
        assert heads.ctc_output is not None and heads.predictor is not None
        assert heads.joiner is not None
        assert heads.ctc_output(out)[0, ::8].argmax(-1).tolist() == wanted["ctc"]
        logits = heads.joiner(out[0, :1], heads.predictor(torch.tensor([[0]]))[0])[0, :5]
        torch.testing.assert_close(logits, torch.tensor(wanted["logits"]), atol=1e-3, rtol=0)


def test_a_run_goes_on_from_a_checkpoint_as_it_went_on_then(tmp_path: Path) -> None:
    corpus, exp_dir = tmp_path / "corpus", tmp_path / "run"
    corpus.mkdir(), exp_dir.mkdir()
    write_corpus(corpus)
    for name in ("checkpoint-3.pt", "bpe.model"):
        shutil.copyfile(FROZEN / "single" / name, exp_dir / name)
    shutil.copyfile(FROZEN / "single" / "bpe.model", corpus / "bpe.model")
    fit(tiny_asr_config(corpus, exp_dir, num_epochs=1))
    wanted = [r for r in read_metrics(FROZEN / "single" / "metrics.jsonl") if r["step"] > 3]
    found = read_metrics(exp_dir / "metrics.jsonl")
    assert [r["step"] for r in found] == [r["step"] for r in wanted] == [4, 5, 5]
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - set(PROCESS):
            wanted_value = other[name]
            if isinstance(wanted_value, float):
                wanted_value = pytest.approx(wanted_value, rel=1e-3, abs=1e-6)
            assert one[name] == wanted_value, name


@pytest.mark.parametrize("kind", ["zipformer", "conformer", "transformer", "contextnet"])
def test_a_config_is_written_and_read_as_it_was(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys may be added; those that there were stay, in their order, with their defaults."""
    text = (FROZEN / f"config-{kind}.toml").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    written = to_toml(load_config(None, ["--encoder.kind", kind]))
    lines = iter(written.replace(str(tmp_path.resolve()), "/somewhere").splitlines())
    assert all(line in lines for line in text.splitlines())
    stored = to_toml(load_config(FROZEN / f"config-{kind}.toml"))
    assert stored == written.replace(str(tmp_path.resolve()), "/somewhere")


@pytest.mark.parametrize("folder", frozen("names.json")["folders"])
def test_results_are_read_and_written_as_they_were(folder: str, tmp_path: Path) -> None:
    stored = FROZEN / "run" / "decode" / folder
    result = read_result(stored / FIGURES)
    written = write_result(tmp_path, result, read_recognized(stored / "recogs.txt"))
    assert written.name == folder
    assert {p.name: p.read_text() for p in written.iterdir()} == {
        p.name: p.read_text() for p in stored.iterdir()
    }


def test_the_choice_of_an_epoch_is_read_as_it_was() -> None:
    selection = read_selection(FROZEN / "run" / "decode" / SELECTION)
    stored = frozen(f"run/decode/{SELECTION}")
    assert selection is not None
    picked = {"epoch": selection.picked.epoch, "avg": selection.picked.avg}
    assert picked | {"wer": round(selection.picked.wer, 4)} == stored["picked"]
    assert selection.why == stored["why"]
    assert len(selection.candidates) == len(stored["candidates"]) > 1


def test_a_server_says_what_it_said() -> None:
    wanted = frozen("wire.json")
    samples, _ = soundfile.read(FROZEN / "string.flac", dtype="float32")
    stream, messages = Recognizer.of(trained(), Context(32, 256, 64)).open(), []
    for start in range(0, len(samples), 8000):
        stream.push(samples[start : start + 8000])
        messages.append(json.loads(result_message(stream)))
    stream.close()
    messages.append(json.loads(result_message(stream)))
    assert len(messages) == len(wanted["messages"])
    for message, old in zip(messages, wanted["messages"], strict=True):
        assert list(message) == list(old)  # in this order, too
        assert message.pop("confidence") == pytest.approx(old.pop("confidence"), abs=1e-3)
        assert message == old
    assert json.loads(error_message("why")) == wanted["error"]


@pytest.mark.parametrize("kind", ["streaming", "offline"])
def test_exported_graphs_have_the_inputs_outputs_and_operators_that_they_had(
    kind: str, tmp_path: Path
) -> None:
    wanted = frozen("graphs.json")
    if kind == "streaming":
        export_streaming(expressive_transducer(), TOKENS, Context(32, 128, 64), tmp_path)
    else:
        export_offline(expressive_transducer(), TOKENS, tmp_path)
    for part in ("encoder", "decoder", "joiner"):
        model = onnx.load(tmp_path / f"{part}.onnx")
        assert {
            "inputs": shapes(model.graph.input),
            "outputs": shapes(model.graph.output),
            "metadata": {p.key: p.value for p in model.metadata_props},
            "operators": dict(Counter(n.op_type for n in model.graph.node)),
        } == wanted[f"{kind}/{part}"], part
    assert sorted(p.name for p in tmp_path.iterdir()) == wanted[f"{kind}/files"]
    assert (tmp_path / "tokens.txt").read_text() == wanted[f"{kind}/tokens.txt"]


def shapes(values: Any) -> dict[str, list[Any]]:
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in values
    }
