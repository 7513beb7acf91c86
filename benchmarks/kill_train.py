"""Whether what is killed at random moments and gone on with ends as if left alone: training, encoding, `prepare: true`.

    python benchmarks/kill_train.py [--only train encode prepare] [--kills 20] [--kills-a-run 4] [--steps 270]
        [--seed 0] [--inputs 400]

A command is killed (with its data workers) at a random moment after it began to write: in a step, an evaluation, a
checkpoint that is half written, the saving of the model. It is then resumed, begun anew where no checkpoint was whole
yet, and killed again, so many times a run. All weights of the final model have to be those of the undisturbed run,
bitwise; of encoded parts every input has to be there once, with the same vector; of prepared images each once, with the
same pixels. --steps says how long the quickstart is trained for; 270 is all of it, about 80 s a run on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from reporting import report, row
from safetensors.torch import load_file

from mmst_cli.builtin.pages import generate_rows
from mmst_cli.runs import RunFolder
from mmst_cli.vectors.vector_folder import RECORD

ROOT = Path(__file__).parent.parent
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
PART = 32  # inputs a part of vectors
CHECKPOINTS = 8  # a run
BEGUN = "begun"

Command = list[str]


@dataclass(frozen=True)
class Job:
    """A command to kill.

    Args:
        name: what it is called in what is printed.
        command: folder to the command that writes it.
        writes: the file in the folder that the command writes when it begins to work, also when it goes on.
        same: compares what it wrote with what the one left alone wrote.
    """

    name: str
    command: Callable[[Path], Command]
    writes: str
    same: Callable[[Path, Path], bool]


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


def preparing_command(folder: Path, inputs: Path) -> Command:
    """Return a command that prepares pages in many files, and nothing else."""
    return [sys.executable, __file__, "--prepare", str(folder), str(inputs)]


def prepare(folder: Path, inputs: Path) -> None:
    """Do what a training with `prepare: true` begins with, into a cache of its own."""
    os.environ["MMST_CACHE"] = str(folder)
    from mmst_cli.config.load import load_config
    from mmst_cli.model.load_model import load_model
    from mmst_cli.preparing import image_preparation
    from mmst_cli.rows.row_preparation import prepare_rows
    from mmst_cli.terminal import Terminal

    rows = folder.with_suffix(".jsonl")
    rows.write_text(
        "".join(json.dumps({"query": "a page", "image": str(page)}) + "\n" for page in sorted(inputs.iterdir()))
    )
    changes = (f"datasets.train.path={rows}", "datasets.train.name=null", "datasets.train.prepare=true")
    config = load_config(QUICKSTART, changes)
    model = load_model(config.model, torch.device("cpu"))[0]
    train = prepare_rows("train", config.datasets["train"], media=config.media)
    image_preparation.PART = 8
    folder.mkdir(exist_ok=True)
    (folder / BEGUN).write_text(str(time.time_ns()))
    image_preparation.prepare_images(config, {"train": train}, model, Terminal())


def same_images(left: Path, right: Path) -> bool:
    """Say whether two caches hold the same prepared images, each once."""
    ours, theirs = (
        pa.concat_tables(pa.ipc.open_file(path).read_all() for path in folder.glob("prepared/*/*.arrow")).sort_by("key")
        for folder in (left, right)
    )
    return len(ours) > 0 and len(set(ours["key"].to_pylist())) == len(ours) and bool(ours.equals(theirs))


def start(command: Command) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def kill_at(command: Command, writes: Path, seconds: float) -> str:
    """Start a command and kill it so many seconds after it began to write to a file; return how it ended."""
    before = written(writes)
    process = start(command)
    while written(writes) == before and process.poll() is None:
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    ended = process.wait()
    said = process.stderr.read()  # type: ignore[union-attr]
    process.stderr.close()  # type: ignore[union-attr]
    if ended not in (0, -signal.SIGKILL):
        return f"exit {ended}: {said[-2000:]}"
    return "killed" if ended else "done"


def written(path: Path) -> tuple[int, int]:
    """Return when a file was last written and how long it is; zeros where it isn't there."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


def options_to_go_on(folder: Path, command: Command) -> list[str]:
    """Return what a command is given after a kill: to go on, or begin anew where no checkpoint was whole yet."""
    if "--prepare" in command:
        return []  # it goes on by itself
    if "train" not in command:
        return ["--resume"] if folder.exists() else []
    if RunFolder(folder).checkpoints():
        return ["--resume"]
    return ["--overwrite"] if folder.exists() else []


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


def trial(job: Job, kills: int, alone: Path, took: float, rng: random.Random) -> dict[str, Any]:
    """Kill one job at random moments, going on with it after each, and compare it with the one left alone."""
    moments: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "out"
        command = job.command(folder)
        done = False
        for _ in range(kills):
            moment = rng.uniform(0, took)
            options = options_to_go_on(folder, command)
            ended = kill_at([*command, *options], folder / job.writes, moment)
            there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            moments.append({"seconds": moment, "options": options, "ended": ended, "there": there})
            print(f"{job.name}: {' '.join(options)} {ended} after {moment:.1f} s", flush=True)
            done = ended == "done"
            if done:
                break
        if not done:
            process = start([*command, *options_to_go_on(folder, command)])
            said = process.communicate()[1]
            if process.returncode:
                raise SystemExit(said[-2000:])
        same = job.same(folder, alone)
    print(f"{job.name}: {'same' if same else 'NOT THE SAME'}", flush=True)
    return {"same": same, "killed": sum(one["ended"] == "killed" for one in moments), "moments": moments}


def trials(job: Job, kills: int, a_run: int, folder: Path, seed: int) -> list[dict[str, Any]]:
    """Run a job undisturbed, and then again and again with kills, until it was killed so many times."""
    begun = time.perf_counter()
    process = start(job.command(folder))
    said = process.communicate()[1]
    if process.returncode:
        raise SystemExit(said)
    # Moments are drawn so that a run is likely to be killed as often as it is to be before it is done.
    took = (time.perf_counter() - begun) / a_run
    rng = random.Random(seed)
    found: list[dict[str, Any]] = []
    while (left := kills - sum(one["killed"] for one in found)) > 0:
        found.append(trial(job, min(a_run, left), folder, took, rng))
    return found


def write_inputs(path: Path, count: int) -> Path:
    """Write pages as files into a folder."""
    path.mkdir()
    for number, page in enumerate(generate_rows("eval", count)):
        (path / f"{number:05d}.png").write_bytes(page["image"]["bytes"])
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=("train", "encode", "prepare"), default=("train", "encode", "prepare")
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kills-a-run", type=int, default=4)
    parser.add_argument("--steps", type=int, default=270)
    parser.add_argument("--inputs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prepare", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare(*options.prepare)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = write_inputs(folder / "pages", options.inputs)
        jobs = {
            "train": Job(
                f"train, {options.steps} steps",
                lambda run: training_command(run, options.steps),
                "log.txt",
                same_weights,
            ),
            "encode": Job(
                f"encode, {options.inputs} pages", lambda output: encoding_command(output, inputs), RECORD, same_vectors
            ),
            "prepare": Job(
                f"`prepare: true`, {options.inputs} pages",
                lambda cache: preparing_command(cache, inputs),
                BEGUN,
                same_images,
            ),
        }
        found = {
            name: trials(jobs[name], options.kills, options.kills_a_run, folder / name, options.seed)
            for name in options.only
        }
    rows = []
    for name, ended in found.items():
        same = sum(one["same"] for one in ended)
        killed = sum(one["killed"] for one in ended)
        measured = f"{same} of {len(ended)} runs, killed {killed} times in all"
        what = f"{jobs[name].name}: kill -9, then bitwise the same"
        rows.append(row(what, "all of them", measured, same == len(ended)))
    report("kill_train", rows, found)
    if not all(one["same"] for ended in found.values() for one in ended):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
