"""What a process draws is its slice of what all draw together, and nothing more leaves it."""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import (
    assert_equal,
    broken_corpus,
    config_for,
    make_cuts,
    write_cut,
    write_manifest,
)

from zipformer.config import DataConfig
from zipformer.data import sampler as sampler_module
from zipformer.data.batch import Batch
from zipformer.data.dataset import Reply, Request
from zipformer.data.drawing import Drawing
from zipformer.data.loader import TrainLoader
from zipformer.data.sampler import Share, TrainingSampler
from zipformer.tokens import Tokenizer
from zipformer.tokens.sentencepiece_model import SentencePieceTokenizer

Named = tuple[list[str], tuple[int, ...], str | None]


def drawn(
    config: DataConfig, tokenizer: Tokenizer, share: Share, start_step: int = 0
) -> tuple[list[list[Named]], Counter[str]]:
    """The steps of epoch 2, their requests by what is in them, and the cuts dropped."""
    sampler = TrainingSampler(config, 5, share.batches_per_step)
    steps = list(Drawing(sampler, share, tokenizer, 2, start_step))
    assert steps[-1].requests == []
    requests = [[named(parcel.open()) for parcel in step.requests] for step in steps[:-1]]
    return requests, sum((step.dropped for step in steps), Counter())


def named(request: Request) -> Named:
    spare = None if request.spare is None else request.spare.id
    return [cut.id for cut in request.cuts], request.seeds, spare


@pytest.fixture
def mixed(tmp_path: Path) -> DataConfig:
    """Cuts to train on among cuts that are too short or have too long a transcript."""
    cuts = make_cuts(tmp_path, [0.05 if i % 4 == 1 else 1.0 + 0.07 * i for i in range(20)])
    for i in range(3):
        samples = np.ones(8000, dtype=np.float32)
        cuts.insert(6 * i, write_cut(tmp_path, f"much{i}", samples, "one " * 30))
    return config_for(write_manifest(tmp_path / "m.jsonl.gz", cuts), max_duration=3.0)


@pytest.mark.parametrize(("world_size", "accumulate"), [(2, 1), (3, 1), (2, 2)])
def test_the_shares_of_all_processes_are_the_slices_of_the_whole(
    mixed: DataConfig, tokenizer: Tokenizer, world_size: int, accumulate: int
) -> None:
    whole, dropped = drawn(mixed, tokenizer, Share(accumulate=world_size * accumulate))
    assert len(whole) > 2
    seeds = [request[1] for step in whole for request in step]
    assert len(set(seeds)) == len(seeds)
    for rank in range(world_size):
        share = Share(rank, world_size, accumulate)
        part, also_dropped = drawn(mixed, tokenizer, share)
        assert part == [step[rank * accumulate : (rank + 1) * accumulate] for step in whole]
        assert also_dropped == dropped


def test_from_any_step_on_the_same_is_drawn_and_dropped(
    mixed: DataConfig, tokenizer: Tokenizer
) -> None:
    share = Share(1, 2, 1)
    whole, dropped = drawn(mixed, tokenizer, share)
    for start in range(len(whole) + 1):
        assert drawn(mixed, tokenizer, share, start) == (whole[start:], dropped)


@pytest.mark.parametrize("share", [Share(), Share(1, 2, 2)], ids=str)
def test_batches_counts_and_log_are_the_same_for_any_number_of_workers(
    mixed: DataConfig, tokenizer: Tokenizer, share: Share, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found: list[tuple[list[Batch], Counter[str], list[str]]] = []
    for num_workers in (0, 1, 2):
        caplog.clear()
        loader = TrainLoader(replace(mixed, num_workers=num_workers), tokenizer, 5, share)
        batches = list(loader.epoch(1, 1))
        found.append((batches, loader.dropped, caplog.messages))
    for batches, dropped, messages in found:
        assert_equal(batches, found[0][0])
        assert dropped == {
            "shorter than data.min_seconds": 5,
            "more tokens than output frames": 3,
        }
        assert [m for m in messages if m.startswith("epoch 1 left out cuts: ")] == messages
        assert sorted(messages[0].partition(": ")[2].split(", ")) == [
            "3 more tokens than output frames",
            "5 shorter than data.min_seconds",
        ]


def test_only_the_own_share_is_tokenized_and_once(
    mixed: DataConfig, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    real = SentencePieceTokenizer.encode
    monkeypatch.setattr(
        SentencePieceTokenizer,
        "encode",
        lambda self, text: (encoded.append(text), real(self, text))[1],
    )
    batches = list(TrainLoader(mixed, tokenizer, 5, Share(0, 2, 1)).epoch(1))
    undecided = ["one " * 29 + "one"] * 3  # by a bound: more characters than frames
    assert Counter(encoded) == Counter([t for b in batches for t in b.texts] + undecided)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_in_drawing_reaches_the_user_as_it_is(
    tmp_path: Path, tokenizer: Tokenizer, num_workers: int
) -> None:
    cuts = [*make_cuts(tmp_path, [1.0] * 2), write_cut(tmp_path, "loud", np.ones(16000), "ONE")]
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    config = config_for(manifest, num_workers=num_workers)
    loader = TrainLoader(config, tokenizer, 5)
    with pytest.raises(ValueError, match="^cut loud: its transcript 'ONE' ") as raised:
        list(loader.epoch(1))
    assert "\n" not in str(raised.value)
    manifest.unlink()
    with pytest.raises(FileNotFoundError, match="^cuts manifest .* not found") as missing:
        list(loader.epoch(1))
    assert "\n" not in str(missing.value)


def test_an_epoch_taken_up_by_a_new_process_has_the_buckets_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large manifests are interleaved anew in every epoch: another beginning, other buckets."""
    monkeypatch.setattr(sampler_module, "CUTS_FOR_BUCKETS", 6)
    (cut,) = make_cuts(tmp_path, [3.0])
    rng = np.random.default_rng(0)
    manifests = []
    for name in ("a", "b", "c"):
        lengths = rng.uniform(0.5, 3.0, 12).round(2).tolist()
        cuts = [replace(cut, id=f"{name}{i}", duration=s) for i, s in enumerate(lengths)]
        manifests.append(write_manifest(tmp_path / f"{name}.jsonl.gz", cuts))
    config = config_for(*manifests, num_buckets=3)
    through = TrainingSampler(config, 5)
    orders = [ids(through, epoch) for epoch in (1, 2, 3, 4)]
    assert [ids(TrainingSampler(config, 5), epoch) for epoch in (1, 2, 3, 4)] == orders


def ids(sampler: TrainingSampler, epoch: int) -> list[list[list[str]]]:
    """The cuts of an epoch by step and batch."""
    return [
        [[cut.id for cut in batch] for batch in step]
        for step in sampler.epoch(epoch, lambda cut: True)
    ]


def test_a_reply_in_pinned_memory_keeps_what_it_reports(
    plain: DataConfig, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (batch, *_) = TrainLoader(plain, tokenizer, 5).epoch(1)
    pinned = replace(batch)
    monkeypatch.setattr(Batch, "pin_memory", lambda self: pinned)
    reply = Reply(batch, [("cut", "why")]).pin_memory()
    assert reply.batch is pinned
    assert reply.unreadable == [("cut", "why")]


@pytest.mark.parametrize(
    ("good", "broken", "message"),
    [(38, 2, "more than data.max_bad_share"), (0, 40, "no cut of a whole batch can be read")],
)
def test_after_an_error_no_worker_is_left(
    tmp_path: Path, tokenizer: Tokenizer, good: int, broken: int, message: str
) -> None:
    """Neither of those that read nor of those that draw, though somebody keeps the error."""
    before = set(multiprocessing.active_children())
    manifest = broken_corpus(tmp_path, good, broken)
    config = config_for(manifest, max_bad_share=0.0, num_workers=1)
    with pytest.raises(ValueError, match=message) as kept:
        list(TrainLoader(config, tokenizer, 5).epoch(1))
    assert kept.value.__traceback__ is not None
    assert set(multiprocessing.active_children()) == before
