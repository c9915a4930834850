"""Benchmarks print what other programs read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts" / "dev"


def test_json_names_the_unit_and_every_case() -> None:
    command = [sys.executable, str(SCRIPTS / "bench_loss.py"), "--json", "--quick", "--rounds", "1"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(printed)
    assert found["unit_ms"] > 0
    names = [case["name"] for case in found["cases"]]
    sizes = "B 8 T 250 U 60 V 500"
    assert names == [f"smoothed, {sizes}", f"pruned joiner, {sizes}"]
    assert all(case["ms"] > 0 and case["units"] > 0 for case in found["cases"])


def test_what_phrases_cost_is_a_ratio() -> None:
    script = str(SCRIPTS / "bench_biasing.py")
    command = [sys.executable, script, "--json", "--quick", "--steps", "3", "--phrases", "50"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(printed)
    assert found["phrases"] == 50 and found["load_seconds"] >= 0
    assert [case["name"] for case in found["cases"]] == ["modified beam"]
    assert found["cases"][0]["ratio"] > 0
