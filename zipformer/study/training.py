"""One training of a study, a run with a seed: its commands, and how far they have come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from zipformer.checkpoint.files import epochs_in, steps_in
from zipformer.config import RunConfig
from zipformer.context import Context, parse_contexts
from zipformer.evaluation.results import FIGURES, Result, read_result
from zipformer.serving.latency import Latency, read_latencies
from zipformer.study.description import Run, Study
from zipformer.training.metrics import read_metrics

DEFAULT_SEARCHES = ("greedy", "ctc_greedy")  # what decoding takes where no search is named
FAILURE = "failed.txt"


@dataclass(frozen=True)
class Training:
    """A run of a study with one seed.

    Args:
        study: That it belongs to.
        run: The way to train.
        seed: Of the training.
    """

    study: Study
    run: Run
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.name

    @property
    def folder(self) -> Path:
        """Where its checkpoints and results lie."""
        return self.study.folder_of(self.run, self.seed)

    @property
    def log(self) -> Path:
        """What its commands print."""
        return self.study.runs_dir / f"{self.name}.log"

    @cached_property
    def config(self) -> RunConfig:
        """Resolved."""
        return self.study.config_of(self.run, self.seed)

    # Training

    def train_words(self) -> list[str]:
        """The command that trains it, or goes on where it was stopped."""
        return ["train", str(self.run.config), *self.study.words_of(self.run, self.seed)]

    @property
    def is_trained(self) -> bool:
        """Whether the last checkpoint is there."""
        train = self.config.train
        by_steps = 0 < train.max_steps and train.max_steps in steps_in(self.folder)
        return by_steps or train.num_epochs in epochs_in(self.folder)

    @property
    def done(self) -> float:
        """The share of the training that is done, by its metrics."""
        if self.is_trained:
            return 1.0
        records = read_metrics(self.folder / "metrics.jsonl")
        return max((float(r["done"]) for r in records if r.get("done")), default=0.0)

    # Decoding

    def decode_words(self) -> list[list[str]]:
        """The commands that decode what is not decoded yet, one for each search."""
        decoded, commands = self._decoded(), []
        for search in self._searches():
            ways = [way for way in self._ways() if not self._result_of(decoded, search, *way)]
            if not ways:
                continue
            contexts, modes, sets = (dict.fromkeys(column) for column in zip(*ways, strict=True))
            words = ["decode", str(self.folder), *self._weights()]
            words += ["--contexts", " ".join(contexts), "--right-mode", ",".join(modes)]
            words += ["--sets", ",".join(sets)]
            commands.append(words + (["--method", search] if search else []))
        return [*commands, *self._latency_words()]

    def latencies(self, method: str) -> list[Latency]:
        """Delays of live streams with this search, as far as the study measures them.

        Raises:
            ValueError: If their file is damaged.
        """
        search = self._searches()[0]
        asked = self.study.decode.latency != "no"
        fits = method in ((search,) if search else DEFAULT_SEARCHES)
        return read_latencies(self._latency_file) if asked and fits else []

    @property
    def _latency_file(self) -> Path:
        decode, search = self.study.decode, self._searches()[0]
        words = ["latency", decode.latency, *self._weights(), search]
        return self.folder / "decode" / f"{'-'.join(w.strip('-') for w in words if w)}.json"

    def _latency_words(self) -> list[list[str]]:
        """The command that measures delays with the first search; none if nothing is missing."""
        decode, search = self.study.decode, self._searches()[0]
        live = [way for way in self._ways() if Context.parse(way[0]).streams]
        if decode.latency == "no" or not live:
            return []
        measured = {(row.context, row.set) for row in read_latencies(self._latency_file)}
        if all((context, test_set) in measured for context, _, test_set in live):
            return []
        contexts, _, sets = (dict.fromkeys(column) for column in zip(*live, strict=True))
        words = ["latency", str(self.folder), *self._weights(), "--contexts", " ".join(contexts)]
        words += ["--sets", ",".join(sets), "--speech-end", decode.latency]
        words += ["--json", str(self._latency_file)]
        return [words + (["--method", search] if search else [])]

    def results(self) -> list[Result]:
        """The results that the study asks for, as far as they are there."""
        decoded = self._decoded()
        found = (
            self._result_of(decoded, search, *way)
            for search in self._searches()
            for way in self._ways()
        )
        return [result for result in found if result is not None]

    def _searches(self) -> tuple[str, ...]:
        return self.study.decode.searches or ("",)

    def _ways(self) -> list[tuple[str, str, str]]:
        """(context, mode, set) of everything that is to be decoded."""
        decode = self.study.decode
        contexts = [str(c) for c in parse_contexts(self.study.contexts_of(self.run))]
        return list(product(contexts, decode.modes, decode.sets or self.config.data.test))

    def _weights(self) -> list[str]:
        decode, train = self.study.decode, self.config.train
        if decode.epoch == "auto":
            return ["--epoch", "auto"]
        if not decode.epoch and train.max_steps in steps_in(self.folder):
            return ["--iter", str(train.max_steps), "--avg", str(decode.avg)]
        return ["--epoch", str(decode.epoch or train.num_epochs), "--avg", str(decode.avg)]

    def _result_of(
        self, decoded: list[Result], search: str, context: str, mode: str, test_set: str
    ) -> Result | None:
        searches = (search,) if search else DEFAULT_SEARCHES
        for result in decoded:
            found = (result.context, result.right_mode, result.set)
            if found == (context, mode, test_set) and result.method in searches:
                return result
        return None

    def _decoded(self) -> list[Result]:
        """All results with the weights that the study asks for."""
        paths = sorted((self.folder / "decode").glob(f"*/{FIGURES}"))
        return [r for r in map(read_result, paths) if self._is_of_weights(r)]

    def _is_of_weights(self, result: Result) -> bool:
        kind, number, *avg = self._weights()
        if number == "auto":
            return result.chosen is not None
        return result.chosen is None and result.model == f"{kind[2:]}{number}-avg{avg[1]}"

    # Failures

    @property
    def failure(self) -> str:
        """Why its last command ended early; empty if it did not."""
        path = self.folder / FAILURE
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def trainings_of(study: Study) -> list[Training]:
    """All trainings of a study, every run with its first seed before any with its second.

    So that there is something to compare early.
    """
    most = max(len(study.seeds_of(run)) for run in study.runs)
    return [
        Training(study, run, study.seeds_of(run)[i])
        for i in range(most)
        for run in study.runs
        if i < len(study.seeds_of(run))
    ]
