"""``adopt``: a released model becomes a run that every verb takes; a mistake leaves nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from commands.calling import Caller
from released.official import OFFICIAL, SETTINGS, weights

from zipformer import Context, Recognizer
from zipformer.checkpoint.loading import load_model

STREAMING = OFFICIAL / "streaming"


@pytest.fixture
def adopted(call: Caller, tmp_path: Path) -> Path:
    done = call("adopt", STREAMING, "--out", "exp/released", cwd=tmp_path)
    assert done.status == 0, done.stderr
    return tmp_path / "exp" / "released"


def released(folder: Path, found: dict[str, torch.Tensor], tokens: bool = True) -> Path:
    """A published file of other weights, mostly with the vocabulary of the reference model."""
    folder.mkdir(parents=True)
    torch.save({"model": found}, folder / "pretrained.pt")
    if tokens:
        shutil.copyfile(STREAMING / "tokens.txt", folder / "tokens.txt")
    return folder / "pretrained.pt"


def test_it_says_what_it_found_and_what_to_try(call: Caller, tmp_path: Path) -> None:
    done = call("adopt", STREAMING / "model.pt", "--out", "exp/a", cwd=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    for part in (
        "a Zipformer, 0.5 M parameters",
        "dims: 24,32,40,48,40,32",
        "heads: transducer, ctc",
        "tokens: 37, of tokens.txt",
        "causal, streams; trained with chunk 32, 64, 128, inf",
        "as published models are: that is not stored",
        'zipformer decode exp/a --contexts "full 32/256/0 32/256/64 32/256/128 32/256/256"',
        "zipformer export exp/a --chunk 32 --left 256 --right 64",
    ):
        assert part in done.stdout, done.stdout
    names = {path.name for path in (tmp_path / "exp" / "a").iterdir()}
    assert names == {"model.pt", "tokens.txt", "config.toml"}


def test_every_verb_takes_it(
    call: Caller, adopted: Path, digit_strings: Path, tmp_path: Path
) -> None:
    sets = f"digits={digit_strings}"
    contexts = "full 32/128/0 32/128/64"
    done = call("decode", adopted, "--contexts", contexts, "--sets", sets, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "WARNING" not in done.stderr
    live = call(
        "decode", adopted, "--contexts", "32/128/64", "--stream", "--sets", sets, cwd=tmp_path
    )
    assert live.status == 0, live.stderr
    texts = {path.parent.name: path for path in adopted.rglob("recogs.txt")}
    assert len(texts) == 4
    (stream,) = (path for name, path in texts.items() if "stream" in name)
    (whole,) = (path for name, path in texts.items() if "32-128-64_windowed" in name)
    assert stream.read_text() == whole.read_text()
    assert len(whole.read_text().split()) > 40  # words of noise, but words
    ctc = ("--method", "ctc_greedy", "--sets", sets)
    assert call("decode", adopted, "--contexts", "32/128/64", *ctc, cwd=tmp_path).status == 0
    assert call("compare", adopted, cwd=tmp_path).stdout.count("released") >= 3


def test_a_recording_is_transcribed_in_python_as_on_the_command_line(
    call: Caller, adopted: Path, tmp_path: Path
) -> None:
    audio = sorted((OFFICIAL.parent / "librispeech").rglob("*.flac"))[0]
    sizes = ("--chunk", 32, "--left", 128, "--right", 64)
    done = call("transcribe", adopted, audio, *sizes, cwd=tmp_path)
    assert done.status == 0, done.stderr
    recognizer = Recognizer.from_checkpoint(adopted, Context(32, 128, 64))
    samples, rate = soundfile.read(audio, dtype="float32")
    stream = recognizer.open()
    stream.push(samples, rate)
    assert stream.close().text in done.stdout
    assert "w" in done.stdout


def test_a_model_that_does_not_stream_is_asked_for_whole_utterances_only(
    call: Caller, digit_strings: Path, tmp_path: Path
) -> None:
    done = call("adopt", OFFICIAL / "offline", "--out", "exp/o", cwd=tmp_path)
    assert "not causal: whole utterances only" in done.stdout
    assert 'zipformer decode exp/o --contexts "full"' in done.stdout
    sets = ("--sets", f"digits={digit_strings}")
    assert call("decode", "exp/o", "--contexts", "full", *sets, cwd=tmp_path).status == 0
    refused = call("decode", "exp/o", "--contexts", "32/256/0", *sets, cwd=tmp_path)
    assert refused.status == 1 and "causal = false sees the whole utterance" in refused.stderr


def test_a_folder_of_a_training_is_averaged(call: Caller, tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    folder.mkdir()
    own = weights()
    for epoch in (1, 2):
        content = {
            "model": own,
            "model_avg": {n: w * epoch if w.is_floating_point() else w for n, w in own.items()},
            "batch_idx_train": 100 * epoch,
            "average_period": 10,
            **SETTINGS,
        }
        torch.save(content, folder / f"epoch-{epoch}.pt")
    tokens = ("--tokens", STREAMING / "tokens.txt")
    done = call("adopt", folder, "--epoch", 2, "--avg", 1, "--out", "run", *tokens, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "trained with chunk 32, 64, inf; left 128, 256;" in done.stdout
    loaded = load_model(tmp_path / "run")
    assert (loaded.label, loaded.steps) == ("epoch2-avg1", 200)
    name = "encoder.frontend.out.weight"
    # From mean 1 over 100 steps and mean 2 over 200: the second hundred had 3.
    found, published = loaded.model.state_dict()[name], own["encoder_embed.out.weight"]
    torch.testing.assert_close(found, 3 * published)
    newest = call("adopt", folder, "--out", "run2", *tokens, cwd=tmp_path)
    assert newest.status == 0, newest.stderr
    assert torch.equal(load_model(tmp_path / "run2").model.state_dict()[name], published)


def test_a_head_alone_is_a_whole_model(call: Caller, digit_strings: Path, tmp_path: Path) -> None:
    ctc = {n: w for n, w in weights().items() if not n.startswith(("decoder", "joiner", "simple"))}
    path = released(tmp_path / "ctc", ctc)
    assert "heads: ctc\n" in call("adopt", path, "--out", "run", cwd=tmp_path).stdout
    sets = ("--sets", f"digits={digit_strings}")
    for mode in ((), ("--stream",)):
        done = call("decode", "run", "--contexts", "32/128/64", *mode, *sets, cwd=tmp_path)
        assert done.status == 0, done.stderr
    transducer = {n: w for n, w in weights().items() if not n.startswith(("ctc", "simple"))}
    path = released(tmp_path / "transducer", transducer)
    done = call("adopt", path, "--out", "run2", cwd=tmp_path)
    assert "heads: transducer\n" in done.stdout and "begins with zeros there" in done.stdout


def changed(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    return weights() | {name: value}


FIRST_ZIPFORMER = {"encoder.encoders.0.layers.0.self_attn.linear_pos.weight": torch.ones(2, 2)}
MISTAKES = [
    (lambda f: released(f, weights(), tokens=False), "there is no tokens.txt.*--tokens FILE"),
    (lambda f: released(f, FIRST_ZIPFORMER), "it is the first Zipformer; it has encoder.encoders"),
    (lambda f: released(f, {"encoder.layers.0.conv.w": torch.ones(2)}), "it is a Conformer"),
    (lambda f: released(f, {"encoder.lstm.weight_hh": torch.ones(2)}), "it is an LSTM"),
    (
        lambda f: released(f, changed("encoder.encoders.0.layers.1.norm.bias", torch.ones(3))),
        r"1 parameters contradict.*norm.bias is \(3,\), which should be \(24,\)",
    ),
    (
        lambda f: released(f, changed("encoder.encoders.0.layers.0.new.bias", torch.ones(3))),
        "new.bias is in no Zipformer",
    ),
    (
        lambda f: released(f, {n: w for n, w in weights().items() if "0.layers.1.norm" not in n}),
        "norm.bias is missing",
    ),
    (lambda f: f.parent / "nothing.pt", "nothing.pt does not exist"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_mistakes_are_one_line_and_leave_nothing(
    call: Caller, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    done = call("adopt", make(tmp_path / "source"), "--out", "run", cwd=tmp_path)
    assert done.status == 1
    (line,) = done.stderr.strip().splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists() and not list(tmp_path.glob("*.tmp"))


def test_a_vocabulary_of_another_size_names_both_numbers(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("<blk> 0\na 1\n")
    arguments = ("--tokens", tmp_path / "tokens.txt", "--out", "run")
    done = call("adopt", STREAMING, *arguments, cwd=tmp_path)
    assert done.status == 1 and "has 2 tokens, but the model has 37" in done.stderr


def test_what_is_there_is_not_overwritten(call: Caller, adopted: Path, tmp_path: Path) -> None:
    done = call("adopt", STREAMING, "--out", adopted, cwd=tmp_path)
    assert done.status == 1 and "exists: choose another --out" in done.stderr
    again = call("adopt", adopted, "--out", "more", cwd=tmp_path)
    assert again.status == 1 and "is a run of this package" in again.stderr
    lone = call("adopt", STREAMING, "--out", "more", "--avg", 2, cwd=tmp_path)
    assert lone.status == 1 and "--avg needs --epoch N or --iter STEP" in lone.stderr


@pytest.mark.slow
def test_it_is_trained_on_with_its_own_vocabulary_and_both_heads(
    call: Caller, digit_strings: Path, tmp_path: Path
) -> None:
    words = "zero one two three four five six seven eight nine".split()
    letters = sorted({letter for word in words for letter in word})
    tokens = ["<blk>", "<unk>", "\u2581", *(f"\u2581{word}" for word in words), *letters]
    tokens += [f"<{i}>" for i in range(37 - len(tokens))]
    vocabulary = tmp_path / "digits.vocab"
    lines = [f"{token}\t-{i}\n" for i, token in enumerate(tokens)]
    vocabulary.write_text("".join(lines), encoding="utf-8")
    source = (STREAMING / "model.pt", "--tokens", vocabulary)
    assert call("adopt", *source, "--out", "exp/a", cwd=tmp_path).status == 0
    done = call(
        *(
            "train",
            "exp/a/config.toml",
            "--init-from",
            "exp/a",
            "--exp-dir",
            tmp_path / "exp" / "b",
        ),
        *("--train", f"{digit_strings}", "--valid", f"{digit_strings}", "--max-steps", 2),
        *("--context.right", "0,64", "--max-duration", 20, "--num-workers", 0),
        *("--train.processes", 1, "--wer-cuts", 2, "--seed", 3),
        cwd=tmp_path,
    )
    assert done.status == 0, done.stderr
    log = (tmp_path / "exp" / "b" / "log.txt").read_text()
    assert "vocabulary: 37 of 37 tokens" in log and "reinitialised: none" in log
    assert "dropped: none" in log
    before = load_model(tmp_path / "exp" / "a")
    after = load_model(tmp_path / "exp" / "b", use_averaged_model=False)
    assert after.tokenizer.tokens == before.tokenizer.tokens == tokens
    old, new = before.model.state_dict(), after.model.state_dict()
    moved = {name for name in new if not torch.equal(old[name], new[name])}
    assert {"ctc_output.1.weight", "joiner.output_linear.weight"} <= moved


def test_a_list_of_tokens_is_not_enough_to_train(
    call: Caller, adopted: Path, digit_strings: Path, tmp_path: Path
) -> None:
    sets = ("--train", digit_strings, "--valid", digit_strings, "--exp-dir", tmp_path / "b")
    done = call("train", adopted / "config.toml", *sets, cwd=tmp_path)
    assert done.status == 1 and "tokens.txt is a list of tokens" in done.stderr
