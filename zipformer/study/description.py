"""What a study file says: the runs, how they are decoded, and what is shown of them.

A study is a TOML. Its ``[[runs]]`` are configs with changes, each trained with every seed;
``[decode]`` says at which contexts, in which modes, on which sets and with which searches all of
them are decoded; ``[show]`` says what the page compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zipformer.config import RunConfig
from zipformer.config.command_line import load_config
from zipformer.evaluation.results import Mode

Horizontal = Literal["right", "latency"]
SpeechEnd = Literal["no", "energy", "alignment"]
Figure = Literal["right", "latency", "epoch"]


@dataclass(frozen=True)
class Decoding:
    """How every run is decoded.

    Args:
        contexts: As ``Context`` writes them.
        modes: Ways to compute right context, as for ``decode --right-mode``.
        sets: Names in ``data.test`` of the configs; all if there is none.
        searches: Names as for ``decode --method``; the model's greedy search if there is none.
        epoch: Whose weights, 0 = the last one; "auto" picks on the validation sets.
        avg: Over how many epochs they are averaged.
        latency: By what the end of speech is told, from which delays of words are counted, as for
            ``latency --speech-end``; "no" leaves delays unmeasured.
    """

    contexts: tuple[str, ...] = ("full", "32/256/0", "32/256/64")
    modes: tuple[Mode, ...] = ("windowed",)
    sets: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    epoch: int | Literal["auto"] = 0
    avg: int = 1
    latency: SpeechEnd = "no"


@dataclass(frozen=True)
class Run:
    """One way to train.

    Args:
        name: Of its rows, and of its folders together with the seed.
        config: The TOML that it starts from.
        options: Keys that are changed in it, each with its words on a command line.
        seeds: In place of the study's.
        contexts: In place of those of ``[decode]``, for a model that cannot compute all of them.
        label: What figures call it; the name by default.
    """

    name: str
    config: Path
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    seeds: tuple[int, ...] = ()
    contexts: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Published:
    """A number from the literature, which no run here made.

    Args:
        name: Of the model.
        set: Name of the test set.
        wer: In percent.
        source: Where it stands.
        context: As ``Context`` writes it; empty if it is another way to stream.
    """

    name: str
    set: str
    wer: float
    source: str
    context: str = "full"


@dataclass(frozen=True)
class Show:
    """What the page compares.

    Args:
        baseline: Name of the run that the others are compared with; the first by default.
        figures: Horizontal axes of the figures: error rates over ``right`` context or ``latency``,
            validation losses over ``epoch``.
        draws: Resampled test sets behind an interval.
        units: Custom field of the cuts that names, for every word, the recording that it comes
            from: these are drawn anew, within speakers, in place of utterances.
    """

    baseline: str = ""
    figures: tuple[Figure, ...] = ("latency",)
    draws: int = 10000
    units: str = ""


@dataclass(frozen=True)
class Study:
    """A study, checked.

    Args:
        name: Of its file.
        title: Of its page.
        note: Stands below the title.
        exp_dir: Folder of its page.
        runs_dir: Folder of its runs: the same, or one that several studies share.
        seeds: Each run is trained with every one.
        runs: Ways to train.
        decode: How all are decoded.
        show: What is compared.
        published: Numbers of others.
    """

    name: str
    title: str
    note: str
    exp_dir: Path
    runs_dir: Path
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    decode: Decoding
    show: Show
    published: tuple[Published, ...]

    def seeds_of(self, run: Run) -> tuple[int, ...]:
        """The seeds that a run is trained with."""
        return run.seeds or self.seeds

    def contexts_of(self, run: Run) -> tuple[str, ...]:
        """The contexts that a run is decoded at."""
        return run.contexts or self.decode.contexts

    def folder_of(self, run: Run, seed: int) -> Path:
        """Where one training of a run lies."""
        return self.runs_dir / f"{run.name}-{seed}"

    def words_of(self, run: Run, seed: int) -> list[str]:
        """The options of ``train`` for one training of a run."""
        words = ["--train.exp-dir", str(self.folder_of(run, seed)), "--train.seed", str(seed)]
        for key, typed in run.options:
            words += [f"--{key}", *typed]
        return words

    def config_of(self, run: Run, seed: int) -> RunConfig:
        """The resolved config of one training of a run.

        Raises:
            ValueError: Naming the run and what is wrong with its settings.
        """
        try:
            return load_config(run.config, self.words_of(run, seed))
        except ValueError as error:
            raise ValueError(f"run {run.name}: {error}") from None
