"""The folder of a run with everything that a page can show, made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation.example_results import example

from zipformer.evaluation.results import write_result
from zipformer.evaluation.scoring import Utterance, total_errors

SCRIPT = "<script>document.title='broken'</script>"
HANDLER = "<img src=x onerror=document.title='broken'>"
CONTEXTS = ("full", "32/256/0", "32/256/64", "64/256/64")


def train_record(step: int) -> dict[str, Any]:
    loss = 5.0 / (1 + step / 100) + 0.2
    return {
        "kind": "train",
        "step": step,
        "epoch": 1 + step // 500,
        "batch": step % 500,
        "loss": loss,
        "simple": 0.6 * loss,
        "pruned": 0.5 * loss,
        "loss/full": 0.9 * loss,
        "loss/chunk 32": loss,
        "loss/chunk 64": 1.1 * loss,
        "loss/right 0": 1.2 * loss,
        "loss/right 64": loss,
        "lr": 0.045 / (1 + step / 500) ** 0.5,
        "grad_norm": None if step == 300 else 1000.0 / step,
        "clipped": 0.02 * (step % 3),
        "balancer": 0.1,
        "whiten": 0.2,
        "context": "32/256/64",
        "right_mode": "masked",
        "audio_hours": step / 50,
        "skipped": step // 400,
        "done": step / 1000,
        "hours_per_hour": 100.0 + step / 100,
        "eta_seconds": 10.0,
        "memory_mb": 900.0 + step / 10,
    }


def valid_record(step: int) -> dict[str, Any]:
    figures = {f"loss {c}": 2.0 / step for c in CONTEXTS[:3]}
    figures |= {f"wer {c}": 90.0 - step / 12 for c in CONTEXTS[:3]}
    return {"kind": "valid", "step": step, "epoch": 1, "loss": 2.0 / step, **figures}


def utterances(context: str) -> list[Utterance]:
    """Five, one of them an attack, one in another script, one with a very long word."""
    said = "one two three four five six seven eight nine zero " * 3
    heard = said.replace("five", "nine").replace("two ", "", 1) + " extra"
    return [
        Utterance.of_texts("long-1", said, heard),
        Utterance.of_texts("attack-2 " + HANDLER, SCRIPT + " hello", "&lt;b&gt; hello " + HANDLER),
        Utterance.of_texts("script-3", "\u4f60\u597d \u4e16\u754c", "\u4f60\u597d"),
        Utterance.of_texts("word-4", "w" * 200, context),
        Utterance.of_texts("right-5", "all of it is right", "all of it is right"),
    ]


def write_run(folder: Path) -> Path:
    """Fills the folder of a run called ``unified <b>``."""
    run = folder / "unified <b>"
    run.mkdir(parents=True)
    records = [train_record(step) for step in range(50, 801, 50)]
    records += [valid_record(step) for step in (400, 800)]
    lines = [json.dumps(record) for record in records]
    (run / "metrics.jsonl").write_text("\n".join([*lines, '{"torn']))
    (run / "config.toml").write_text(f'[data]\nname = "{SCRIPT}"\n[train]\nseed = 42\n')
    (run / "log.txt").write_text("2026-01-01 INFO training in /x on cuda:0, bf16\n")
    for name, bonus in (("clean", 0.0), ("other", 9.0)):
        for i, context in enumerate(CONTEXTS):
            spoken = utterances(context)
            errors = total_errors(spoken)
            result = replace(
                example(context, name=name, wer=20.0 - 3 * i + bonus, words=errors.words),
                references=name,
                train_seconds=4000.0,
                train_audio_seconds=7200.0,
            )
            write_result(run / "decode", result, spoken)
    write_selection(run)
    return run


def write_selection(run: Path) -> None:
    candidate = {"references": "dev", "checkpoints": {}, "git_commit": None, "words": 100}
    found = [{"epoch": 3, "avg": avg, "errors": 9 - avg, **candidate} for avg in (1, 2)]
    question = {"sets": {"/data/dev.jsonl.gz": [1, 2]}, "cuts": 0, "context": "32/256/64"}
    content = {"question": question, "candidates": found, "left_out": {}}
    (run / "decode" / "selection.json").write_text(json.dumps(content))
