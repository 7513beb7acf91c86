"""What a single frame tells: the video quickstart, retrained on clips that show one frame all the time.

    python benchmarks/single_frame.py [--steps 560]

Train and eval clips are those of the quickstart, with the same queries; each shows its first, or its middle, frame
eight times. Frames are taken away before training: a model that learned from movement and then loses it says
nothing about how far another one gets without.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from datasets import load_from_disk
from reporting import report, row

from mmst_cli.builtin.clip_drawing import FRAMES
from mmst_cli.builtin.clips import CHANGES, NAMES, build_clips, encode_clip, save_clips
from mmst_cli.config.schema import MediaConfig
from mmst_cli.media.video import read_video

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "quickstart-video.yaml"
SHOWN = {"first": 0, "middle": FRAMES // 2}  # which frame the clips show
BAR, SINGLE_FRAME_BAR, SECONDS = 0.60, 0.40, 240


def frozen_rows(name: str, frame: int):
    """Yield the rows of ``train`` or ``eval`` with one frame of each clip in the place of all."""
    for entry in load_from_disk(str(build_clips(name))):
        frames = read_video(entry["clip"], MediaConfig())["array"]
        still = np.repeat(frames[frame : frame + 1], len(frames), axis=0)
        yield {**entry, "clip": {"bytes": encode_clip(still), "path": None}}


def train(folder: Path, *overrides: str) -> dict:
    """Run ``mmst train`` on the quickstart; return its result with the seconds of the whole command."""
    command = [sys.executable, "-m", "mmst_cli", "train", str(CONFIG), f"output_dir={folder}", *overrides, "--json"]
    begun = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**json.loads(done.stdout), "whole": time.perf_counter() - begun}


def train_frozen(folder: Path, frame: int, *overrides: str) -> dict:
    paths = []
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        save_clips(frozen_rows(name, frame), folder / name)
        paths.append(f"datasets.{name}.path={folder / name}")
    return train(folder / "run", *paths, *overrides)


def full_dimension(result: dict) -> dict:
    return result["evaluators"]["clips"][0]


def blind_to_change() -> float:
    """Return the NDCG@10 of whoever finds the right look and orders its clips by chance."""
    return sum(1 / math.log2(rank + 1) for rank in range(1, 11)) / len(CHANGES)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=560)
    steps = f"training.max_steps={parser.parse_args().steps}"
    for name in NAMES:
        build_clips(name)  # drawn beforehand: the quickstart's time is that of a second run
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = train(folder / "whole", steps)
        frozen = {shown: train_frozen(folder / shown, frame, steps) for shown, frame in SHOWN.items()}
    compare(whole, frozen)


def compare(whole: dict, frozen: dict[str, dict]) -> None:
    score = full_dimension(whole)
    rows = [
        row(
            "video quickstart on 2 CPU cores: NDCG@10",
            f"from under 0.10 to {BAR:.2f}",
            f"{score['before']:.4f} to {score['after']:.4f}",
            score["before"] < 0.10 and score["after"] >= BAR,
        ),
        row(
            "video quickstart: the whole command",
            f"within {SECONDS} s",
            f"{whole['whole']:.0f} s",
            whole["whole"] <= SECONDS,
        ),
    ]
    for shown, result in frozen.items():
        after = full_dimension(result)["after"]
        what = f"retrained on the {shown} frame alone: NDCG@10"
        rows.append(row(what, f"{SINGLE_FRAME_BAR:.2f} or less", f"{after:.4f}", after <= SINGLE_FRAME_BAR))
    rows.append(row("the right look, its clips in random order: NDCG@10", "-", f"{blind_to_change():.4f}", None))
    report("single_frame", rows, {"whole": whole, **frozen})


if __name__ == "__main__":
    main()
