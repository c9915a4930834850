"""The command ``zipformer``: what it lists, what it refuses, and whose package it takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands.calling import ENVIRONMENT, ROOT, SCRIPTS

import zipformer_cli

FOREIGN = 'print("the other package was imported")\n'


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with another project's package ``zipformer``."""
    package = tmp_path / "site-packages" / "zipformer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FOREIGN)
    return package.parent


def run(*command: object, path: Path | None = None, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder that is not the checkout, with ``path`` as PYTHONPATH."""
    environment = dict(ENVIRONMENT)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=120,
    )


def test_help_lists_every_verb_with_the_first_line_of_its_module(
    capsys: pytest.CaptureFixture[str],
) -> None:
    zipformer_cli.main(["--help"])
    printed = capsys.readouterr().out
    listed = re.findall(r"^  ([a-z-]+) +([A-Z].*\.)$", printed, re.M)
    assert [verb for verb, _ in listed] == zipformer_cli.VERBS
    for verb, line in listed:
        text = (ROOT / "zipformer" / "commands" / f"{verb.replace('-', '_')}.py").read_text()
        assert text.startswith(f'"""{line}\n')


def test_without_a_verb_the_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        zipformer_cli.main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: zipformer VERB")


def test_help_does_not_wait_for_pytorch() -> None:
    code = (
        "import sys, zipformer_cli; zipformer_cli.main(['--help']); print('torch' in sys.modules)"
    )
    assert run("-c", code, cwd=ROOT).stdout.endswith("\nFalse\n")


def test_the_package_is_a_command_too() -> None:
    done = run("-m", "zipformer", "compare", "--help", cwd=ROOT)
    assert done.returncode == 0 and done.stdout.startswith("usage: zipformer compare ")


@pytest.mark.parametrize(
    "word,message",
    [
        ("trian", "trian: unknown verb; did you mean train?"),
        ("exports", "exports: unknown verb; did you mean export or report?"),
        (
            "qqqq",
            "qqqq: unknown verb; known: train, decode, compare, study, report, adopt, ",
        ),
        ("--hlep", "--hlep: unknown option; did you mean --help?"),
    ],
)
def test_an_unknown_verb_names_the_nearest(
    capsys: pytest.CaptureFixture[str], word: str, message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        zipformer_cli.main([word, "exp"])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"zipformer: error: {message}") and printed.out == ""
    assert printed.err.count("\n") == 1


def refused(done: subprocess.CompletedProcess[str], foreign: Path) -> None:
    """Checks that the other package is named, was not imported, and what to do about it."""
    assert done.returncode == 1 and done.stdout == "", done.stdout
    assert done.stderr.startswith("error: Python finds another project's package zipformer, in ")
    assert str(foreign / "zipformer") in done.stderr
    assert "pip uninstall zipformer, and then pip install -e . in" in done.stderr
    assert "another environment" in done.stderr and done.stderr.count("\n") == 1


COMMAND = "from zipformer_cli import main; main()"


@pytest.mark.parametrize("words", [["--help"], ["compare", "--help"], []])
def test_the_command_refuses_another_package_found_first(
    foreign: Path, tmp_path: Path, words: list[str]
) -> None:
    """On PYTHONPATH; the command itself is where an install would put it."""
    (foreign / "zipformer_cli.py").write_text((ROOT / "zipformer_cli.py").read_text())
    refused(run("-c", COMMAND, *words, path=foreign, cwd=tmp_path), foreign)


def test_the_command_refuses_another_package_beside_an_editable_install(
    foreign: Path, tmp_path: Path
) -> None:
    """As in an environment: a folder of site-packages comes before what a .pth file names."""
    (foreign / "editable.pth").write_text(f"{ROOT}\n")
    code = f"import site; site.addsitedir({str(foreign)!r}); {COMMAND}"
    refused(run("-ISc", code, "--help", cwd=tmp_path), foreign)


def test_the_command_refuses_another_package_installed_over_it(
    foreign: Path, tmp_path: Path
) -> None:
    """Installed into one folder, not editable: files of both lie there."""
    (foreign / "zipformer" / "commands").mkdir()
    (foreign / "zipformer_cli.py").write_text((ROOT / "zipformer_cli.py").read_text())
    refused(run("-c", COMMAND, "--help", path=foreign, cwd=tmp_path), foreign)


def test_a_script_takes_its_own_checkout_before_any_other_package(
    foreign: Path, tmp_path: Path
) -> None:
    done = run(SCRIPTS / "compare.py", "--help", path=foreign, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage: compare.py "), done.stderr


def test_a_script_away_from_its_package_refuses_another(foreign: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "scripts" / "train.py").write_text((SCRIPTS / "train.py").read_text())
    (checkout / "zipformer_cli.py").write_text((ROOT / "zipformer_cli.py").read_text())
    done = run(checkout / "scripts" / "train.py", "--help", path=foreign, cwd=tmp_path)
    refused(done, foreign)


def test_without_any_package_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "zipformer_cli.py").write_text((ROOT / "zipformer_cli.py").read_text())
    done = run("-ISc", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {COMMAND}", cwd=ROOT)
    assert done.returncode == 1 and done.stderr.startswith("error: Python finds no package")
    assert "pip install -e ." in done.stderr and done.stderr.count("\n") == 1
