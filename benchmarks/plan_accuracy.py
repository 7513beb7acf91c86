"""What `mmst plan` says of a run beside what the run takes: wall time, processor time and peak memory.

    python benchmarks/plan_accuracy.py [--jobs quickstart audio video pages 2b] [--steps N] [--pages 512]

Each job is planned and then trained, each as a command of its own. `pages` are JPEGs of 1700 x 2200 pixels that the
tiny Qwen3-VL sees at up to 600 x 600. `--steps` shortens the runs, evaluations and checkpoints with them. On a machine
that does other work the processor time tells more than the clock: of the training process, without what prepares rows
beside it and without the fresh process at its end. Its peak memory is the resident set of that process. `2b` is the
quickstart with a folder that has the sizes of Qwen3-VL-Embedding-2B and no weights: it is planned for an H100, not
trained.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from memory import build_model, build_pages, first_rows
from reporting import report, row

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
ALLOWED = 0.25
MIB = 2**20
PLANNED_WITHIN = 20.0, 1536 * MIB
"""Seconds and bytes in which a folder of two billion parameters is planned."""


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    seconds: float
    processor_seconds: float
    """Of it alone, without the processes that it began."""
    peak_bytes: int
    output: str


def run(*arguments: object) -> Taken:
    """Run an `mmst` command to its end."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", "mmst_cli", *map(str, arguments)]
        process = psutil.Popen(command, stdout=out, stderr=errors, text=True)
        processor, peak = 0.0, 0
        while process.poll() is None:
            with suppress(psutil.Error, OSError):
                used = process.cpu_times()
                processor = used.user + used.system
                peak = max(peak, _peak_of(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - begun
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{arguments}: {errors.read()}")
        return Taken(seconds, processor, peak, out.read())


def _peak_of(pid: int) -> int:
    """Return the largest resident set that a process had, as Linux keeps it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def pages_job(folder: Path, pages: int) -> Path:
    """Write the config of a job on large pages."""
    rows = first_rows(build_pages(pages), pages)
    columns = {"query": {"role": "anchor"}, "image": {"role": "positive", "modality": "image"}}
    job = {
        "model": {"name_or_path": str(build_model())},
        "datasets": {
            "train": {"use": "train", "path": str(rows), "columns": columns},
            "eval": {"use": "eval", "path": str(rows), "max_rows": 64, "columns": columns},
        },
        "loss": [{"type": "CachedMultipleNegativesRankingLoss", "args": {"mini_batch_size": 8}}],
        "evaluators": {"pages": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "eval"}},
        "training": {
            "num_train_epochs": 1,
            "per_device_train_batch_size": 16,
            "batch_sampler": "no_duplicates",
            "use_cpu": True,
            "eval_strategy": "steps",
            "eval_steps": 0.5,
            "save_strategy": "steps",
            "save_steps": 0.5,
        },
    }
    path = folder / "pages.yaml"
    path.write_text(yaml.safe_dump(job, sort_keys=False))
    return path


def compare(name: str, config: Path, changes: list[str], folder: Path) -> dict[str, object]:
    """Plan a job, train it, and return what both say."""
    told = [f"output_dir={folder / name}", *changes]
    planned = json.loads(run("plan", config, *told, "--json").output)
    trained = run("train", config, *told, "training.disable_tqdm=true")
    measured, work = planned["measured"], planned["work"]
    processor = measured["start_processor_seconds"] + work["steps"] * measured["step_processor_seconds"]
    processor += work["evaluations"] * measured["evaluation_processor_seconds"]
    return {
        "job": name,
        "steps": work["steps"],
        "planned_seconds": planned["time"]["total"],
        "seconds": trained.seconds,
        "planned_processor_seconds": processor,
        "processor_seconds": trained.processor_seconds,
        "planned_bytes": planned["peak_bytes"],
        "bytes": trained.peak_bytes,
        "plan": planned,
    }


def plan_two_billion(folder: Path) -> list[dict[str, object]]:
    """Plan a job with a folder that has the sizes of Qwen3-VL-Embedding-2B, and no weights."""
    sys.path.insert(0, str(ROOT / "tests/planning"))
    from qwen_folder import TEXT_2B, VISION_2B, parameters_of, write_folder

    model = write_folder(folder / "2b", TEXT_2B, VISION_2B)
    told = run("plan", CONFIGS / "quickstart.yaml", f"model.name_or_path={model}", "--device", "h100-80", "--json")
    planned, counted = json.loads(told.output)["weights"]["parameters"], parameters_of(model)
    seconds, size = PLANNED_WITHIN
    return [
        row("2b, no weights: seconds to plan", f"{seconds:.0f} s", f"{told.seconds:.1f} s", told.seconds <= seconds),
        row("2b: peak", f"{size / MIB:,.0f} MiB", f"{told.peak_bytes / MIB:,.0f} MiB", told.peak_bytes <= size),
        row("2b: parameters", f"{counted:,}, by hand", f"{planned:,}", planned == counted),
    ]


def main() -> None:
    """Compare all jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", default=["quickstart", "audio", "video", "pages", "2b"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--pages", type=int, default=512)
    asked = parser.parse_args()
    changes = [f"training.max_steps={asked.steps}"] if asked.steps else []
    found, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        if "2b" in asked.jobs:
            rows += plan_two_billion(Path(folder))
        for name in (job for job in asked.jobs if job != "2b"):
            shipped = CONFIGS / ("quickstart.yaml" if name == "quickstart" else f"quickstart-{name}.yaml")
            config = pages_job(Path(folder), asked.pages) if name == "pages" else shipped
            found.append(compare(name, config, changes, Path(folder)))
            print(json.dumps({key: value for key, value in found[-1].items() if key != "plan"}), file=sys.stderr)
    for one in found:
        for what, unit, size in (("seconds", "s", 1), ("processor_seconds", "s", 1), ("bytes", "MiB", MIB)):
            planned, taken = float(one[f"planned_{what}"]) / size, float(one[what]) / size  # type: ignore[arg-type]
            bar = "-" if what == "processor_seconds" else f"within {ALLOWED:.0%}"
            said = f"planned {planned:,.0f} {unit}, taken {taken:,.0f} {unit}: {planned / taken:.2f}x"
            reached = None if what == "processor_seconds" else abs(planned / taken - 1) <= ALLOWED
            rows.append(row(f"{one['job']}, {one['steps']} steps: {what}", bar, said, reached))
    report("plan_accuracy", rows, {"jobs": found})


if __name__ == "__main__":
    main()
