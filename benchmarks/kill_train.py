"""Whether a run that is killed at a random moment and resumed ends as one left alone: kill -9, training and encoding.

    python benchmarks/kill_train.py [--kills 20] [--steps 270] [--seed 0] [--encode-kills 20] [--inputs 400]

Each trial is a command of its own, killed (with its data workers) at a moment drawn evenly from the time that the
undisturbed one took, from where its folder is there until its end: in a step, an evaluation, a checkpoint that is half
written, the saving of the model. It is then resumed, begun anew where no checkpoint was whole yet. All weights of the
final model have to be those of the undisturbed run, bitwise; of encoded parts every input has to be there once, with
the same vector. --steps says how long the quickstart is trained for; 270 is all of it, about 80 s a run on two cores.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from reporting import report, row
from safetensors.torch import load_file

from mmst_cli.builtin.pages import generate_rows
from mmst_cli.vectors.vector_folder import RECORD

ROOT = Path(__file__).parent.parent
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
PART = 32  # inputs a part of vectors
CHECKPOINTS = 8  # a run

Command = list[str]


def training_command(folder: Path, steps: int) -> Command:
    """Return the quickstart's command, with a checkpoint about every eighth of the run and two of them kept."""
    every = max(1, steps // CHECKPOINTS)
    changes = {
        "output_dir": folder,
        "training.max_steps": steps,
        "training.save_steps": every,
        "training.eval_steps": 2 * every,
        "training.logging_steps": max(1, every // 2),
        "training.dataloader_num_workers": 1,
    }
    if steps < 100:  # a short one has to be short throughout
        changes |= {"training.per_device_train_batch_size": 16, "loss.0.args.mini_batch_size": 16}
        changes |= {"datasets.train.max_rows": 640, "datasets.eval.max_rows": 60}
    return [sys.executable, "-m", "mmst_cli", "train", str(QUICKSTART), *(f"{k}={v}" for k, v in changes.items())]


def encoding_command(folder: Path, inputs: Path) -> Command:
    """Return a command that encodes pages in many parts, which the command line doesn't offer."""
    call = (
        "import sys; from pathlib import Path; from mmst_cli.encoding.encode import run_encode;"
        " from mmst_cli.terminal import Terminal;"
        f" run_encode('builtin:tiny-qwen3-vl', ['{inputs}'], Path('{folder}'), rows_per_part={PART}, batch_size=16,"
        " terminal=Terminal(), resume='--resume' in sys.argv, overwrite='--overwrite' in sys.argv)"
    )
    return [sys.executable, "-c", call]


def start(command: Command) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def kill_at(command: Command, begun: Callable[[], bool], seconds: float) -> str:
    """Start a command and kill it so many seconds after it began to write; return what it was doing."""
    process = start(command)
    while not begun() and process.poll() is None:
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    ended = process.wait()
    process.stderr.close()  # type: ignore[union-attr]
    return "killed" if ended == -signal.SIGKILL else f"was done before it could be killed ({ended})"


def resume(command: Command) -> str:
    """Resume, or begin anew where there is nothing to resume, and return which of them."""
    for option in ("--resume", "--overwrite"):
        process = start([*command, option])
        said = process.communicate()[1]
        if process.returncode == 0:
            return option
        if option == "--overwrite" or ("no whole checkpoint" not in said and "there is no run" not in said):
            raise SystemExit(f"{option}: exit {process.returncode}: {said[-2000:]}")
    raise AssertionError


def same_weights(left: Path, right: Path) -> bool:
    """Say whether two runs have the same final weights, bitwise."""
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (left, right))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def same_vectors(left: Path, right: Path) -> bool:
    """Say whether two outputs hold the same inputs, each once and in the same order, with the same vectors."""
    ours, theirs = (
        pq.read_table([str(part) for part in sorted(folder.glob("part-*.parquet"))]) for folder in (left, right)
    )
    ids = ours["id"].to_pylist()
    return len(set(ids)) == len(ids) and bool(ours.equals(theirs))


def trial(
    number: int,
    command: Callable[[Path], Command],
    begun: Callable[[Path], Path],
    same: Callable[[Path, Path], bool],
    alone: tuple[Path, float],
    rng: random.Random,
) -> dict[str, Any]:
    """Kill one command at a random moment, resume it, and compare."""
    reference, took = alone
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "out"
        moment = rng.uniform(0, took)
        ended = kill_at(command(folder), lambda: begun(folder).exists(), moment)
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        how = resume(command(folder))
        found = same(folder, reference)
    print(
        f"{number}: {ended} after {moment:.1f} of {took:.1f} s, {how}: {'same' if found else 'NOT THE SAME'}",
        flush=True,
    )
    return {"seconds": moment, "ended": ended, "there": there, "resumed": how, "same": found}


def trials(
    kills: int,
    command: Callable[[Path], Command],
    begun: Callable[[Path], Path],
    same: Callable[[Path, Path], bool],
    folder: Path,
    seed: int,
) -> list[dict[str, Any]]:
    """Run a command undisturbed, and then until it was killed so many times; one that was done before is no kill."""
    process = start(command(folder))
    while not begun(folder).exists() and process.poll() is None:
        time.sleep(0.01)
    started = time.perf_counter()
    said = process.communicate()[1]
    took = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(said)
    rng = random.Random(seed)
    found: list[dict[str, Any]] = []
    while sum(one["ended"] == "killed" for one in found) < kills and len(found) < 2 * kills:
        found.append(trial(len(found) + 1, command, begun, same, (folder, took), rng))
    return found


def write_inputs(path: Path, count: int) -> Path:
    """Write pages as files into a folder."""
    path.mkdir()
    for number, page in enumerate(generate_rows("eval", count)):
        (path / f"{number:05d}.png").write_bytes(page["image"]["bytes"])
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--encode-kills", type=int)
    parser.add_argument("--steps", type=int, default=270)
    parser.add_argument("--inputs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    encodings = options.kills if options.encode_kills is None else options.encode_kills
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = trials(
            options.kills,
            lambda run: training_command(run, options.steps),
            lambda run: run / "config.yaml",
            same_weights,
            folder / "run",
            options.seed,
        )
        inputs = write_inputs(folder / "pages", options.inputs)
        encoded = trials(
            encodings,
            lambda output: encoding_command(output, inputs),
            lambda output: output / RECORD,
            same_vectors,
            folder / "vectors",
            options.seed,
        )
    rows = []
    for what, found in ((f"train, {options.steps} steps", trained), (f"encode, {options.inputs} pages", encoded)):
        same = sum(one["same"] for one in found)
        killed = sum(one["ended"] == "killed" for one in found)
        resumed = sum(one["resumed"] == "--resume" for one in found)
        measured = f"{same} of {len(found)} ({killed} killed on the way, {resumed} resumed, the others begun anew)"
        rows.append(row(f"{what}: kill -9, then bitwise the same", "all of them", measured, same == len(found)))
    report("kill_train", rows, {"train": trained, "encode": encoded})
    if not all(one["same"] for one in [*trained, *encoded]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
