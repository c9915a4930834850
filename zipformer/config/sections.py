"""Every knob of a run, as frozen dataclasses: one class for each section of a recipe's TOML.

The settings of encoders are in ``zipformer.nn``, beside each encoder; those of training methods in
``zipformer.config.method``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

# The keys of the heads in ``model``, and of the weights of their losses in ``loss``.
SCALES = {"transducer": "transducer_scale", "ctc": "ctc_scale", "attention_decoder": "aed_scale"}


@dataclass(frozen=True)
class ModelConfig:
    """Everything around the encoder: which heads there are, and their sizes."""

    transducer: bool = True  # loss.transducer_scale weighs its loss
    predictor_dim: int = 512
    joiner_dim: int = 512
    context_size: int = 2  # tokens that the stateless predictor sees
    ctc: bool = False  # loss.ctc_scale weighs its loss
    attention_decoder: bool = False  # rescores what the others find; weighed by loss.aed_scale
    aed_layers: int = 6
    aed_dim: int = 512
    aed_heads: int = 8
    aed_feedforward_dim: int = 2048
    aed_dropout: float = 0.1

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that there are, by their keys here."""
        return tuple(head for head in SCALES if getattr(self, head))


@dataclass(frozen=True)
class ContextConfig:
    """Which contexts training draws from, one draw per step; sizes in frames of 10 ms."""

    chunk: tuple[int, ...] = (32, 64, 128, -1)
    left: tuple[int, ...] = (128, 256, 512, -1)
    right: tuple[int, ...] = (0, 64, 128, 256)
    policy: Literal["uniform", "continuous", "curriculum"] = "uniform"
    curriculum_steps: int = 0  # steps until a curriculum offers the whole menu
    right_mode: Literal["masked", "windowed", "mixed"] = "masked"
    windowed_share: float = 0.5  # for "mixed": share of the steps that are windowed
    max_window_ratio: float = 0.0  # most that (chunk + right) / chunk may be when windowed; 0 = any


@dataclass(frozen=True)
class LossConfig:
    """The losses of the heads, their weights in the sum, and what else steers gradients."""

    transducer_scale: float = 1.0
    backend: Literal["torch", "k2"] = "torch"
    rnnt_type: Literal["regular", "modified", "constrained"] = "regular"
    prune_range: int = 5
    lm_scale: float = 0.25
    am_scale: float = 0.0
    simple_scale: float = 0.5
    warm_steps: int = 2000  # steps over which the pruned loss takes over from the simple one
    ctc_scale: float = 0.0
    aed_scale: float = 0.0
    label_smoothing: float = 0.1  # of the attention decoder's loss
    fastemit: float = 0.0  # tokens' gradients count for 1 + this (arXiv 2010.11148)
    delay_penalty: float = 0.0  # per output frame that a token comes late (arXiv 2211.00490)
    balancer: bool = True  # whether Balancer modules add their gradients
    whiten: bool = True  # whether Whiten modules add theirs


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer, and its learning-rate schedule."""

    kind: Literal["scaled_adam", "adam"] = "scaled_adam"
    base_lr: float = 0.045  # relative change per step with scaled_adam; adam wants about 0.001
    lr_schedule: Literal["eden", "noam"] = "eden"  # with noam, base_lr is a factor: 5 for adam
    lr_batches: float = 7500.0  # of eden
    lr_epochs: float = 3.5  # of eden
    warmup_batches: float = 500.0
    warmup_start: float = 0.5  # of eden; noam starts at 0
    noam_dim: int = 512  # the width that noam is meant for
    clipping_scale: float = 2.0  # of scaled_adam; adam does not clip
    learn_scale: bool = True  # whether scaled_adam learns the size of each tensor besides


@dataclass(frozen=True)
class ScheduleConfig:
    """The clock that dropout rates, skip rates and regularizers follow."""

    ref_seconds: float = 600.0  # audio seconds that count as one batch of the published schedules


@dataclass(frozen=True)
class SpecAugmentConfig:
    """SpecAugment (arXiv 1904.08779) with time warping; sizes in frames and mel bins."""

    prob: float = 0.9
    time_warp: int = 80
    freq_masks: int = 2
    max_freq_width: int = 27
    time_masks: int = 10
    max_time_width: int = 100
    max_time_share: float = 0.15
    views: int = 1  # of every utterance, warped alike and masked apart; 2 for method.kind = cr_ctc


@dataclass(frozen=True)
class WeightedManifest:
    """A manifest to train on, and how often: ``{path = "b.jsonl.gz", weight = 3.0}``.

    Args:
        path: Cuts manifest, or a folder of shards.
        weight: How often each of its cuts comes in an epoch, on average over the epochs. A path
            alone has weight 1.

    Raises:
        ValueError: If the weight is not above 0 and finite.
    """

    path: Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.weight < float("inf"):
            raise ValueError(
                f"data.train: weight {self.weight:g} of {self.path}: it says how often each cut "
                "comes in an epoch, so give a number above 0, as 0.5 or 3; or take the manifest "
                "out of the list"
            )


@dataclass(frozen=True)
class DataConfig:
    """Manifests in, batches out. Paths in a TOML are relative to that TOML."""

    train: tuple[Path | WeightedManifest, ...] = ()
    valid: tuple[Path, ...] = ()
    test: dict[str, Path] = field(default_factory=dict)  # name of the set -> cuts manifest
    bpe_model: Path = Path("data/bpe.model")
    sample_rate: int = 16000
    max_duration: float = 200.0  # audio seconds per batch
    num_buckets: int = 30
    bucket_buffer: int = 20000  # cuts that the sampler looks ahead
    num_workers: int = 2
    min_seconds: float = 0.1
    max_seconds: float = 30.0
    max_bad_share: float = 0.01  # share of unreadable cuts above which loading stops
    speed_factors: tuple[float, ...] = (1.0,)  # drawn per cut when features are computed on the fly
    noise: Path | None = None  # cuts manifest to mix in
    noise_prob: float = 0.5
    noise_snr: tuple[float, float] = (10.0, 20.0)
    volume: tuple[float, float] = (1.0, 1.0)  # samples are multiplied by a factor between these
    volume_prob: float = 1.0  # share of the utterances for which that is done
    spec_augment: SpecAugmentConfig = SpecAugmentConfig()

    @property
    def corpora(self) -> tuple[WeightedManifest, ...]:
        """What is trained on, every entry with its weight."""
        return tuple(
            entry if isinstance(entry, WeightedManifest) else WeightedManifest(entry)
            for entry in self.train
        )

    @property
    def is_weighted(self) -> bool:
        """Whether a weight is given anywhere in ``train``."""
        return any(isinstance(entry, WeightedManifest) for entry in self.train)

    def check_corpora(self) -> None:
        """Raises ValueError if a manifest is there twice in a list with weights."""
        paths = [corpus.path for corpus in self.corpora]
        twice = [str(path) for path in dict.fromkeys(paths) if paths.count(path) > 1]
        if twice and self.is_weighted:
            raise ValueError(
                f"data.train: {', '.join(twice)} is there more than once, in a list with weights: "
                "write it once, with the sum of the weights (a path alone has weight 1)"
            )


@dataclass(frozen=True)
class TrainConfig:
    """The training loop."""

    exp_dir: Path = Path("exp")
    init_from: Path | None = None  # checkpoint or run whose weights a new run starts from
    num_epochs: int = 30
    max_steps: int = 0  # stop after so many steps; 0 = run all epochs
    seed: int = 42
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accumulate: int = 1  # batches of a step; under torchrun, of each of its processes
    processes: int | Literal["auto"] = "auto"  # on a CPU: they share the batches of a step
    log_every: int = 50  # steps
    valid_every: int = 3000  # steps; also at the end of every epoch
    save_every: int = 4000  # steps; also at the end of every epoch
    save_minutes: float = 0.0  # minutes; 0 = only by steps
    keep_last: int = 30  # step checkpoints kept
    average_every: int = 100  # steps between snapshots of the running model average
    max_nonfinite: int = 10  # steps without update in a row after which training stops
    oom: Literal["stop", "skip"] = "stop"  # what to do when memory runs out
    scan: Literal["auto", "yes", "no"] = "auto"  # try the largest batches first; auto: on CUDA
    tensorboard: bool = True


@dataclass(frozen=True)
class ValidationConfig:
    """Validation always runs at the same contexts, so that its curves can be read."""

    contexts: tuple[str, ...] = ("full", "32/256/0", "32/256/64")
    right_mode: Literal["masked", "windowed"] = "windowed"
    wer_cuts: int = 200  # cuts of each validation set that are decoded greedily; 0 = none


@dataclass(frozen=True)
class ScoringConfig:
    """How what was heard is compared with what was said; all is done to both, in this order.

    Both first pass the normalisation of the vocabulary (NFKC).
    """

    whisper: Literal["none", "basic", "english"] = "none"  # the normalizers of leaderboards
    lowercase: bool = False
    glm: Path | None = None  # a mapping file, lines "going to => gonna"
    drop_punctuation: bool = False  # but for apostrophes and hyphens within words
    drop: tuple[str, ...] = ()  # words that do not count, as uh and um
    unit: Literal["auto", "word", "char"] = "auto"  # auto: words; Chinese and Japanese characters
    merge_compounds: bool = False  # "black bird" is "blackbird"
