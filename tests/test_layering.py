"""Which part of the package may know which: one list, from the top floor down."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "zipformer"
# Every module of the package belongs to one of these, and imports only what stands below it, or
# its neighbours of the same floor. Imports for type checkers alone count like all others.
FLOORS = [
    "zipformer",  # the face of the package
    "zipformer.__main__",
    "zipformer.commands",
    "zipformer.study",
    "zipformer.diagnosis",
    "zipformer.report",
    "zipformer.export",
    "zipformer.serving",
    "zipformer.evaluation",
    "zipformer.streaming",
    "zipformer.training",
    "zipformer.training.methods",
    "zipformer.checkpoint",
    "zipformer.released",
    "zipformer.search",
    "zipformer.biasing",
    "zipformer.data",
    "zipformer.tokens",
    "zipformer.model",
    "zipformer.heads",
    "zipformer.losses",
    "zipformer.optim",
    "zipformer.config",
    "zipformer.nn.zipformer",
    "zipformer.nn.baselines",
    "zipformer.nn",
    "zipformer.ops",
    "zipformer.ops.kernels",
    "zipformer.masks",
    "zipformer.waits",
    "zipformer.context",
    "zipformer.progress",
    "zipformer.files",
]
OPTIONAL = ["k2", "torchaudio", "matplotlib", "triton", "onnx", "onnxruntime", "sherpa_onnx"]
OPTIONAL += ["websockets", "huggingface_hub", "ssentencepiece", "sounddevice"]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> str:
    """The floor that a module belongs to: the longest entry that it is, or lies below."""
    if module == "zipformer":
        return module
    inside = [f for f in FLOORS[1:] if module == f or module.startswith(f + ".")]
    assert inside, f"{module} stands on no floor: give its folder a place in FLOORS"
    return max(inside, key=len)


def imports(path: Path) -> set[str]:
    """Everything that a file imports, wherever in it: modules, and names with their modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_of_the_package(path: Path) -> set[str]:
    """The modules of this package that a file imports; names inside a module are cut off."""
    modules = {module_name(file) for file in FILES}
    found = set()
    for name in imports(path):
        while name not in modules and "." in name:
            name = name.rpartition(".")[0]
        found |= {name} & modules
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_downwards_only(path: Path) -> None:
    own = floor_of(module_name(path))
    for module in modules_of_the_package(path):
        other = floor_of(module)
        assert FLOORS.index(other) >= FLOORS.index(own), (
            f"{module_name(path)} imports {module}: {own} stands below {other}"
        )


def test_every_floor_is_there_and_every_folder_has_one() -> None:
    modules = {module_name(path) for path in FILES}
    assert set(FLOORS) <= modules, set(FLOORS) - modules
    folders = {module_name(path) for path in PACKAGE.rglob("__init__.py")}
    assert folders <= set(FLOORS), folders - set(FLOORS)


def test_a_floor_has_no_circles() -> None:
    """Neighbours of one floor do not import each other in circles either."""
    graph = {module_name(p): modules_of_the_package(p) - {module_name(p)} for p in FILES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_the_package_does_not_know_recipes_or_scripts() -> None:
    for path in FILES:
        outside = {n for n in imports(path) if n.split(".")[0] in ("recipes", "local", "scripts")}
        assert not outside, f"{path} imports {outside}"


def test_nobody_uses_the_global_random_module() -> None:
    for path in FILES:
        used = {name for name in imports(path) if name.split(".")[0] == "random"}
        assert used <= {"random.Random"}, f"{path} imports random; seed a torch.Generator"


def test_importing_zipformer_imports_nothing_optional() -> None:
    code = f"import sys, zipformer; print([m for m in {OPTIONAL} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
