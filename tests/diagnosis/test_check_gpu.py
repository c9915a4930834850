"""``zipformer check-gpu``: whatever becomes of a check, the others run and all are told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands.calling import ENVIRONMENT, ROOT, Caller
from diagnosis.stand_ins import EVERY_END

from zipformer.diagnosis import catalogue
from zipformer.diagnosis.check import Outcome, Setting
from zipformer.diagnosis.report import markdown, to_json
from zipformer.diagnosis.runner import Runner


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(capsys, monkeypatch)


@pytest.mark.slow
def test_a_check_that_fails_dies_or_hangs_fails_alone(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "all_checks", lambda setting, largest: EVERY_END)
    done = call("check-gpu", "--json", "--device", "cpu", "--out", "report.md", cwd=tmp_path)
    assert done.status == 1 and done.stderr == ""
    lines = done.stdout.splitlines()
    checks = {check["name"]: check for check in json.loads(lines[-1])["checks"]}
    assert list(checks) == [check.name for check in EVERY_END]
    assert all(list(check) == ["name", "ok", "skipped", "note"] for check in checks.values())
    for name, (ok, skipped, note) in {
        "passing": (True, False, "fine"),
        "raising": (False, False, "ArithmeticError: two and two are five"),
        "dying": (False, False, "its process ended with exit status 3"),
        "hanging": (False, False, "it took longer than 1 s"),
        "skipping": (False, True, "it rains"),
        "without a GPU": (False, True, "needs a CUDA device: it is made for one"),
        "passing again": (True, False, "fine"),
    }.items():
        assert checks[name] == {"name": name, "ok": ok, "skipped": skipped, "note": note}
    assert [line.split()[2] for line in lines[:7]] == "ok FAILED FAILED FAILED".split() + (
        "skipped skipped ok".split()
    )
    assert "not for the terminal" not in done.stdout
    text = (tmp_path / "report.md").read_text()
    assert "2 passed, 2 skipped, 3 failed: raising, dying, hanging." in text
    assert "the last words" in text and "and more lines" in text


@pytest.mark.long
def test_on_a_cpu_what_can_be_done_passes_and_the_rest_has_a_reason(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "dev" / "check_gpu.py", "--json"]
    done = subprocess.run(
        [*command, "--device", "cpu"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = json.loads(done.stdout.splitlines()[-1])["checks"]
    assert all(check["ok"] != check["skipped"] and check["note"] for check in checks)
    passed = {check["name"] for check in checks if check["ok"]}
    assert passed >= {"versions", "operations", "step in bf16", "step in fp16", "stop and resume"}
    assert passed >= {"torchrun", "out of memory in one process", "speed of a toy"}
    assert {"first kernel", "waits", "NCCL", "speed of M"} & passed == set()
    assert list(tmp_path.iterdir()) == []


def test_names_of_checks_are_unique_and_each_has_its_limit() -> None:
    for device in ("cpu", "cuda"):
        checks = catalogue.all_checks(Setting(device, Path()), largest=True)
        assert len({check.name for check in checks}) == len(checks)
        assert all(0 < check.seconds <= catalogue.SECONDS for check in checks)


def test_when_the_time_is_over_the_others_are_skipped(tmp_path: Path) -> None:
    (outcome,) = Runner(Setting("cpu", tmp_path), seconds=1.0).run(EVERY_END[:1])
    assert outcome.skipped and outcome.note == "the 1 s for all were over"


def test_mistakes_are_one_line(call: Caller, tmp_path: Path) -> None:
    done = call("check-gpu", "--only", "torchrum", "--device", "cpu", cwd=tmp_path)
    assert done.status == 1
    assert done.stderr == "error: --only torchrum: there is no such check; did you mean torchrun?\n"


def test_a_table_of_times_has_a_line_for_each_size_that_ran() -> None:
    fast = Outcome("speed of S", True, False, "fast", facts={"size": "S", "step ms": "100"})
    slow = Outcome.of_skipped("speed of L", "no time")
    text = markdown([fast, slow])
    assert "| S    | 100     |" in text and "icefall" in text
    assert "| speed of L | skipped |" in text
    assert json.loads(to_json([slow]))["checks"][0]["skipped"] is True
