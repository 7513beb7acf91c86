"""The floors of the house: what may import what, and what may load torch."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmst_cli

SOURCE = Path(mmst_cli.__file__).parent
COMMANDS = ["evaluation", "checking", "mining", "encoding", "searching", "exporting", "drafting"]
FLOORS = [
    ["cli", "__main__"],
    ["training", "merging"],
    ["planning"],
    COMMANDS,
    ["preparing"],
    ["similarity", "html"],
    ["vectors"],
    ["inputs"],
    ["model"],
    ["retrieval"],
    ["rows"],
    ["sources"],
    ["builtin"],
    ["media"],
    ["runs", "run_environment", "whole_checkpoints", "config", "work", "cached", "time_shares"],
    ["terminal", "storage", "output_claim", "aside", "launcher", "shell_words"],
    ["lasting_console"],
    ["ending_together"],
    ["streams", "processes"],
    ["errors"],
]
FLOOR_OF = {name: len(FLOORS) - index for index, names in enumerate(FLOORS) for name in names}
HEAVY = ("torch", "transformers", "sentence_transformers", "datasets")
LIGHT = [
    "errors",
    "processes",
    "ending_together",
    "launcher",
    "storage",
    "runs",
    "work",
    "cached",
    "time_shares",
    "terminal",
    "evaluation.evaluation_request",
    "mining.mining_target",
    "mining.scored_target",
]


def module_name(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(("mmst_cli", *parts)).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
LIGHT += sorted(name.removeprefix("mmst_cli.") for name in MODULES if name.startswith("mmst_cli.config."))


def imports_of(module):
    """Return the names of the modules that a module imports anywhere in it, those for types included."""
    found, waiting = set(), [ast.parse(MODULES[module].read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= submodules or {node.module}
            if any(f"{node.module}.{alias.name}" not in MODULES for alias in node.names):
                found.add(node.module)
    return found


def own(names):
    return sorted(name for name in names if name in MODULES and name != "mmst_cli")


def room(module):
    """Return the package or module of `mmst_cli` that a module is in."""
    return module.split(".")[1]


def test_every_room_has_a_floor():
    assert {room(name) for name in MODULES if name != "mmst_cli"} == set(FLOOR_OF)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "mmst_cli"])
def test_imports_point_downward(module):
    for imported in own(imports_of(module)):
        same_room = room(imported) == room(module)
        assert same_room or FLOOR_OF[room(imported)] <= FLOOR_OF[room(module)], f"{module} imports {imported}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_rooms_of_commands_use_nothing_of_each_other(name):
    modules = [module for module in MODULES if module.startswith(f"mmst_cli.{name}.")]
    used = {room(imported) for module in modules for imported in own(imports_of(module))}
    assert not used & (set(COMMANDS) - {name})


def test_there_is_no_circle():
    waiting = {module: set(own(imports_of(module))) for module in MODULES}
    while free := [module for module, imported in waiting.items() if not imported]:
        for module in free:
            del waiting[module]
        for imported in waiting.values():
            imported -= set(free)
    assert not waiting, f"in or above a circle: {sorted(waiting)}"


def test_only_the_command_line_imports_typer():
    users = {name for name in MODULES if any(i.split(".")[0] in ("typer", "click") for i in imports_of(name))}
    assert {room(name) for name in users} == {"cli"}


def test_no_module_is_named_for_everything():
    assert not {"utils", "util", "helpers", "helper", "common", "misc"} & {path.stem for path in SOURCE.rglob("*")}


def run_python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, **options
    )


def test_what_reads_configs_and_runs_loads_no_torch():
    code = f"""
import importlib, sys
for name in {LIGHT!r}:
    importlib.import_module("mmst_cli." + name)
    loaded = sorted(set({HEAVY!r}) & set(sys.modules))
    assert not loaded, (name, loaded)
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def loaded_by(*arguments, cwd=None):
    """Run `python -m mmst_cli` and return its result and which heavy packages it imported."""
    result = run_python("-X", "importtime", "-m", "mmst_cli", *arguments, cwd=cwd)
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 100
    names = {line.rpartition("|")[2].strip().split(".")[0] for line in lines}
    assert "mmst_cli" in names
    return result, names & set(HEAVY)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([name, "--help"] for name in ("train", "eval", "encode", "search", "mine", "score"))],
)
def test_help_loads_no_torch(arguments):
    result, heavy = loaded_by(*arguments)
    assert result.returncode == 0
    assert "mmst" in result.stdout
    assert not heavy


MISTAKES = {
    "missing file": None,
    "broken YAML": "model: [",
    "unknown key": "modle: {}\n",
    "unknown loss": (
        "model: {name_or_path: a/b}\n"
        "datasets: {t: {use: train, path: a/b, columns: {q: {role: anchor}, p: {role: positive}}}}\n"
        "loss: [{type: NoSuchLoss}]\n"
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", ["train", "eval"])
def test_a_config_mistake_loads_no_torch(command, mistake, tmp_path):
    if (text := MISTAKES[mistake]) is not None:
        (tmp_path / "job.yaml").write_text(text)
    result, heavy = loaded_by(command, "job.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert not heavy
    assert {path.name for path in tmp_path.iterdir()} <= {"job.yaml"}
