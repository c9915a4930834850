"""A run as training leaves it, with random weights that say something."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import sentencepiece as spm
import soundfile
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from torch import nn

from zipformer import ZipformerConfig
from zipformer.checkpoint.averaging import ModelAverage
from zipformer.checkpoint.files import epoch_path, save, sha256
from zipformer.checkpoint.loading import LoadedModel
from zipformer.config import ContextConfig, DataConfig, LossConfig, ModelConfig, RunConfig
from zipformer.config.toml import to_dict
from zipformer.data.features import extract
from zipformer.model import AsrModel
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.tokens import Tokenizer, open_tokenizer

DIGITS = "zero one two three four five six seven eight nine".split()
ENCODER = ZipformerConfig(
    downsampling=(1, 2),
    num_layers=(1, 1),
    dims=(16, 24),
    unmasked_dims=(16, 16),
    query_head_dim=(4, 4),
    pos_head_dim=(2, 2),
    value_head_dim=(4, 4),
    num_heads=(2, 2),
    feedforward_dims=(16, 24),
    kernels=(7, 7),
    pos_dim=8,
    frontend_channels=(2, 4, 8),
)
CONFIG = RunConfig(
    encoder=ENCODER,
    model=ModelConfig(predictor_dim=16, joiner_dim=16),
    context=ContextConfig(chunk=(32, 64, -1), left=(128,), right=(0, 64)),
)

# Every head, or only those that need no predictor.
ALL_HEADS = replace(
    CONFIG.model,
    ctc=True,
    attention_decoder=True,
    aed_layers=2,
    aed_dim=16,
    aed_heads=2,
    aed_feedforward_dim=24,
)
CTC_ATTENTION = replace(ALL_HEADS, transducer=False)


def train_tokenizer(folder: Path) -> Tokenizer:
    """A vocabulary of the letters of the digits."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.Train(
        sentence_iterator=iter([" ".join(DIGITS), " ".join(reversed(DIGITS))] * 20),
        model_writer=model,
        model_type="char",
        vocab_size=24,
        hard_vocab_limit=False,
        user_defined_symbols=["<blk>", "<sos/eos>"],
        unk_id=2,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    path = folder / "bpe.model"
    path.write_bytes(model.getvalue())
    return open_tokenizer(path)


def talkative_model(
    vocab_size: int,
    seed: int = 0,
    heads: ModelConfig = CONFIG.model,
    encoder: EncoderConfig = ENCODER,
) -> AsrModel:
    """Weights large enough that context, history and input all matter to the words."""
    generator = torch.Generator().manual_seed(seed)
    model = AsrModel(encoder, vocab_size, heads).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim > 1 and "chunkwise_conv_scale" not in name:
                p.copy_(noise / p[0].numel() ** 0.5)
            elif "log_scale" not in name:
                p.add_(0.2 * noise)
        # Outputs of such an encoder vary little around their mean: what varies shall decide.
        noise = torch.randn(1, 400, 80, generator=generator)
        if model.joiner is not None:
            _spread(model, [model.joiner.encoder_proj], noise)
            model.joiner.output_linear.weight.mul_(4.0)
        _spread(model, _first_layers(model), extract(0.1 * torch.randn(64000, generator=generator)))
    return model


def _spread(model: AsrModel, layers: list[nn.Linear], features: torch.Tensor) -> None:
    """Lets layers make much of how the encoder's output differs from its mean over (T, 80)."""
    features = features.view(1, -1, 80)
    out = model.encoder(features, torch.tensor([features.shape[1]]))[0][0]  # (T, D)
    for layer in layers:
        layer.weight.div_(out.std(dim=0).mean() / 2)
        layer.bias.copy_(-layer.weight @ out.mean(dim=0))


def _first_layers(model: AsrModel) -> list[nn.Linear]:
    """Those of the other heads that the encoder's output goes into."""
    layers = [] if model.ctc_output is None else [model.ctc_output[1]]  # type: ignore[index]
    if model.attention_decoder is not None:
        for layer in model.attention_decoder.layers:
            layers += [layer.src_attn.linear_k, layer.src_attn.linear_v]
    return layers


def tiny_run(
    folder: Path,
    heads: ModelConfig = CONFIG.model,
    encoder: EncoderConfig = ENCODER,
    **data: object,
) -> LoadedModel:
    """A model in the folder of its run; ``data`` changes fields of the data section."""
    tokenizer = train_tokenizer(folder)
    settings = DataConfig(bpe_model=tokenizer.path, num_workers=0, **data)  # type: ignore[arg-type]
    loss = LossConfig(transducer_scale=float(heads.transducer), ctc_scale=float(heads.ctc))
    return LoadedModel(
        model=talkative_model(tokenizer.vocab_size, heads=heads, encoder=encoder),
        config=replace(CONFIG, encoder=encoder, data=settings, model=heads, loss=loss),
        tokenizer=tokenizer,
        label="epoch1-avg1",
        path=folder / "epoch-1.pt",
        steps=7,
        audio_seconds=70.0,
    )


def write_epochs(folder: Path, loaded: LoadedModel, epochs: int) -> None:
    """``epoch-N.pt`` of a run that drifts, the later the more, into hearing short words.

    The weights of ``loaded`` are those of the first.
    """
    model, average = loaded.model, ModelAverage(loaded.model)
    blank = loaded.tokenizer.tokens.index("▁")
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for epoch in range(1, epochs + 1):
        with torch.no_grad():
            last = model.ctc_output[1] if model.joiner is None else model.joiner.output_linear
            last.bias[blank] += 2.0 * (epoch - 1)
        average.add(model)
        content = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "state": {"step": 7 * epoch, "audio_seconds": 70.0 * epoch},
            "clock": {"seconds": 11.0 * epoch},
            "config": to_dict(loaded.config),
            "files": {"bpe.model": sha256(folder / "bpe.model")},
        }
        save(epoch_path(folder, epoch), content)
    model.load_state_dict(start)


def write_cuts(folder: Path, name: str, texts: list[str], seconds: float = 0.9) -> Path:
    """A manifest of cuts of noise, each a little longer than the one before."""
    generator = np.random.default_rng(7)
    cuts = []
    for i, text in enumerate(texts):
        audio = folder / f"{name}-{i}.wav"
        samples = 0.1 * generator.standard_normal(int(16000 * (seconds + 0.3 * i)))
        soundfile.write(audio, samples, 16000)
        recording = Recording.from_file(audio)
        said = SupervisionSegment(f"{name}-{i}", recording.id, 0.0, recording.duration, text=text)
        cuts.append(MonoCut(f"{name}-{i}", 0.0, recording.duration, 0, [said], recording=recording))
    path = folder / f"{name}.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(path)
    return path
