"""local/lib/stages.sh: a step of data preparation that recipes share."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from preparation.steps import ROOT, run

SCRIPT = """\
set -euo pipefail
data_dir={data}
greeting=hello
. {root}/local/lib/stages.sh
parse_options "data_dir greeting" "$@"
both() {{ echo "$1" >> {data}/log; {middle}; echo after >> {data}/log; }}
stage 0 "greet" both "$greeting"
stage 1 "leave" sh -c "echo bye >> {data}/log"
"""


def stages(tmp_path: Path, *options: str, middle: str = "true") -> tuple[int, str, str]:
    """Runs a small prepare.sh: exit status, what it did, what it printed."""
    script = tmp_path / "prepare.sh"
    script.write_text(SCRIPT.format(data=tmp_path, root=ROOT, middle=middle))
    log = tmp_path / "log"
    log.write_text("")
    done = run("bash", script, *options)
    return done.returncode, log.read_text(), done.stdout + done.stderr


def test_finished_stages_are_skipped(tmp_path: Path) -> None:
    assert stages(tmp_path)[:2] == (0, "hello\nafter\nbye\n")
    status, log, printed = stages(tmp_path)
    assert (status, log) == (0, "")
    assert printed.count("done before") == 2


def test_forced_stages_run_again(tmp_path: Path) -> None:
    stages(tmp_path)
    assert stages(tmp_path, "--force")[1] == "hello\nafter\nbye\n"


def test_a_changed_option_makes_its_stage_and_the_later_ones_run_again(tmp_path: Path) -> None:
    stages(tmp_path)
    assert stages(tmp_path, "--greeting", "hi")[1] == "hi\nafter\nbye\n"
    assert stages(tmp_path, "--greeting=hi")[1] == ""


def test_only_the_stages_asked_for_run(tmp_path: Path) -> None:
    assert stages(tmp_path, "--stop-stage", "0")[1] == "hello\nafter\n"
    assert stages(tmp_path, "--stage", "1")[1] == "bye\n"


def test_a_failing_command_inside_a_stage_stops_everything(tmp_path: Path) -> None:
    status, log, printed = stages(tmp_path, middle="false")
    assert (status, log) == (1, "hello\n")
    assert "stage 0 (greet) failed" in printed
    assert stages(tmp_path)[1] == "hello\nafter\nbye\n"


WAITING = """\
import sys, time
from pathlib import Path
from local.lib.errors import one_line_errors
begun = Path(sys.argv[1])
with one_line_errors(begun.parent):
    if not begun.exists():
        begun.touch()
        time.sleep(60)
"""


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    script, begun = tmp_path / "prepare.sh", tmp_path / "begun"
    waits = f"{sys.executable} {tmp_path}/waiting.py {begun}"
    script.write_text(
        SCRIPT.format(data=tmp_path, root=ROOT, middle="true") + f'stage 2 "w" {waits}'
    )
    process = subprocess.Popen(
        ["bash", script], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not begun.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said and "ERROR" not in said
    assert said.endswith("stage 2 (w) was interrupted; the same command goes on here\n")
    done = run("bash", script)
    assert done.returncode == 0 and done.stdout.count("done before") == 2


READY = """\
set -euo pipefail
recipe={root}/recipes/own_data
data_dir={data}
. {root}/local/lib/stages.sh
ready small.toml
"""


def test_the_end_names_the_next_command(tmp_path: Path) -> None:
    script = tmp_path / "prepare.sh"
    for data, said in (
        (
            ROOT / "recipes/own_data/data",
            "next: python scripts/train.py recipes/own_data/small.toml",
        ),
        (tmp_path, f"next: copy recipes/own_data/small.toml, let its paths data/... .*{tmp_path}/"),
    ):
        script.write_text(READY.format(root=ROOT, data=data))
        done = run("bash", script)
        assert done.returncode == 0 and f"ready: {data}" in done.stdout
        assert re.search(said, done.stdout)
    assert (ROOT / "recipes/own_data/small.toml").is_file()


HELPERS = """\
set -euo pipefail
data_dir={data}
mode=fast
. {root}/local/lib/stages.sh
parse_options "data_dir mode" "$@"
need_python
one_of mode fast slow
absolute {data}
skip 0 "greet" "nobody is there"
"""


def helpers(tmp_path: Path, *options: str) -> tuple[int, str]:
    """Exit status and output of a prepare.sh that only checks."""
    script = tmp_path / "prepare.sh"
    script.write_text(HELPERS.format(data=tmp_path, root=ROOT))
    done = run("bash", script, *options)
    return done.returncode, done.stdout + done.stderr


def test_options_with_few_values_and_folders_are_checked(tmp_path: Path) -> None:
    status, printed = helpers(tmp_path)
    assert status == 0 and printed.startswith(f"{tmp_path}\n")
    assert "stage 0: greet: nobody is there, skipped" in printed
    assert helpers(tmp_path, "--stage", "1")[1] == f"{tmp_path}\n"
    status, printed = helpers(tmp_path, "--mode", "quick")
    assert status == 1 and "--mode quick: expected one of: fast slow" in printed
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dirname").symlink_to("/usr/bin/dirname")
    (tmp_path / "bin" / "date").symlink_to("/bin/date")
    done = subprocess.run(
        ["/bin/bash", tmp_path / "prepare.sh"],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path / "bin")},
    )
    assert done.returncode == 1 and "no python in PATH" in done.stderr


@pytest.mark.parametrize("options", [("--nonsense", "1"), ("plain",), ("--greeting",)])
def test_wrong_options_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    status, log, printed = stages(tmp_path, *options)
    assert (status, log) == (1, "")
    assert options[0] in printed
