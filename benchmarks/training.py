"""The quickstart by mmst beside the same job by hand: losses, scores and time.

    python benchmarks/training.py [--rounds 3] [--steps 60]

One whole run of each, then short runs in turns (A B A B ...), whose training time is compared pair by pair, so
that a machine whose speed drifts doesn't decide.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from reporting import report, row

from mmst_cli.builtin.pages import build_pages
from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "quickstart.yaml"
# Training alone is timed: neither side evaluates or saves on the way.
ALONE = {"eval_strategy": "no", "save_strategy": "no", "logging_steps": 1}
NOT_PLAIN = ("eval_steps", "save_steps", "save_total_limit")


def run_plain(folder: Path, extra: dict) -> dict:
    settings = {**yaml.safe_load(CONFIG.read_text())["training"], **ALONE, **extra, "disable_tqdm": True}
    command = [sys.executable, str(ROOT / "benchmarks" / "plain_script.py"), "--out", str(folder / "plain.json")]
    command += ["--model", str(build_tiny_qwen3vl()), "--train", str(build_pages("train"))]
    command += ["--eval", str(build_pages("eval"))]
    command += ["--min-pixels", "1024", "--max-pixels", "12288"]
    for key, value in settings.items():
        if key not in NOT_PLAIN:
            command += ["--set", f"{key}={json.dumps(float(value) if key == 'learning_rate' else value)}"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    result = json.loads((folder / "plain.json").read_text())
    return {**result, "train": result["seconds"]["train"], "whole": time.perf_counter() - begun}


def run_mmst(folder: Path, extra: dict) -> dict:
    overrides = [f"training.{key}={value}" for key, value in {**ALONE, **extra}.items()]
    overrides = [text.replace("=no", '="no"') for text in overrides]
    command = [sys.executable, "-m", "mmst_cli", "train", str(CONFIG), f"output_dir={folder / 'run'}", *overrides]
    begun = time.perf_counter()
    done = subprocess.run([*command, "--overwrite", "--json"], check=True, capture_output=True, text=True)
    whole = time.perf_counter() - begun
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    result = json.loads(done.stdout)
    return {
        "losses": [line["loss"] for line in lines if "loss" in line],
        "scores": result["evaluators"]["pages"],
        "train": result["training_seconds"],
        "whole": whole,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, ours = run_plain(folder, {}), run_mmst(folder, {})
        pairs = []
        for _ in range(options.rounds):
            short = {"max_steps": options.steps}
            pairs.append((run_plain(folder, short)["train"], run_mmst(folder, short)["train"]))
    compare(plain, ours, pairs, options.steps)


def compare(plain: dict, ours: dict, pairs: list[tuple[float, float]], steps: int) -> None:
    equal = sum(a == b for a, b in zip(plain["losses"], ours["losses"], strict=True))
    ratios = [mmst / script for script, mmst in pairs]
    ratio = statistics.median(ratios)
    full = ours["scores"][0]
    worst = max(
        abs(line["after"] - plain["after"][str(line["dim"])][f"pages-{line['dim']}_cosine_ndcg@10"])
        for line in ours["scores"]
    )
    rows = [
        row(
            "quickstart on 2 CPU cores: NDCG@10",
            "from under 0.05 to 0.80",
            f"{full['before']:.4f} to {full['after']:.4f}",
            full["before"] < 0.05 and full["after"] >= 0.80,
        ),
        row("quickstart: the whole command", "within 180 s", f"{ours['whole']:.0f} s", ours["whole"] <= 180),
        row(
            "the same losses as the plain script, bitwise",
            "every step",
            f"{equal} of {len(plain['losses'])} steps",
            equal == len(plain["losses"]),
        ),
        row("scores after training, all dimensions", "1e-6", f"largest difference {worst:.1e}", worst <= 1e-6),
        row(
            f"training time beside the plain script ({steps} steps, {len(pairs)} pairs)",
            "1.02x or less",
            f"median {ratio:.3f}x ({min(ratios):.3f} to {max(ratios):.3f})",
            ratio <= 1.02,
        ),
        row(
            "the whole job: load, evaluate 7 dimensions, train, evaluate, save",
            "-",
            f"{ours['whole']:.0f} s, plain script {plain['whole']:.0f} s",
            None,
        ),
    ]
    report("training", rows, {"pairs": pairs, "plain": plain, "mmst": ours})


if __name__ == "__main__":
    main()
