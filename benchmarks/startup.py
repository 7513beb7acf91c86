"""How soon a command answers: help, a mistake in a config, and inspection without weights.

python benchmarks/startup.py [--rounds 7]
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

from reporting import report, row

from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl
from mmst_cli.model.inspect_model import run_inspection

ROOT = Path(__file__).parent.parent
HEADER = 8  # bytes that say how long a safetensors header is


def seconds(*arguments: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    return time.perf_counter() - begun


def median_above_bare(rounds: int, *arguments: str) -> float:
    """Return the median over pairs of a run's time less that of a bare interpreter."""
    return statistics.median(seconds(*arguments) - seconds("-c", "pass") for _ in range(rounds))


def big_folder(folder: Path) -> Path:
    """Give the tiny model the sizes of the 2B one in its config, and a weights file of that size with holes."""
    import shutil

    target = folder / "big"
    shutil.copytree(build_tiny_qwen3vl(), target)
    config = json.loads((target / "config.json").read_text())
    config["text_config"] |= {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28}
    config["text_config"] |= {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    config["text_config"] |= {"vocab_size": 151936}
    config["text_config"]["rope_parameters"]["mrope_section"] = [24, 20, 20]
    config["vision_config"] |= {"hidden_size": 1024, "intermediate_size": 4096, "depth": 24, "num_heads": 16}
    config["vision_config"] |= {"out_hidden_size": 2048}
    (target / "config.json").write_text(json.dumps(config))
    weights = target / "model.safetensors"
    header = weights.read_bytes()[HEADER:]
    length = int.from_bytes(weights.read_bytes()[:HEADER], "little")
    with weights.open("wb") as file:
        file.write(length.to_bytes(HEADER, "little") + header[:length])
        file.truncate(4_300_000_000)
    return target


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    help_seconds = median_above_bare(options.rounds, "-m", "mmst_cli", "--help")
    config = str(ROOT / "configs" / "vdr.yaml")
    mistake = median_above_bare(options.rounds, "-m", "mmst_cli", "train", config, "loss.0.args.mini=1")
    with tempfile.TemporaryDirectory() as name:
        folder = big_folder(Path(name))
        run_inspection(str(folder))
        there, absent = [], []
        for _ in range(options.rounds):
            begun = time.perf_counter()
            facts = run_inspection(str(folder))
            there.append(time.perf_counter() - begun)
        (folder / "model.safetensors").unlink()
        for _ in range(options.rounds):
            begun = time.perf_counter()
            run_inspection(str(folder))
            absent.append(time.perf_counter() - begun)
    with_file, without = statistics.median(there), statistics.median(absent)
    rows = [
        row("mmst --help, above a bare interpreter", "0.3 s", f"{help_seconds:.2f} s", help_seconds <= 0.3),
        row("a config mistake, above a bare interpreter", "0.6 s", f"{mistake:.2f} s", mistake <= 0.6),
        row(
            f"inspect-modalities, {facts.parameters / 1e9:.1f}B parameters: weights there or absent",
            "the same time",
            f"{with_file * 1000:.0f} ms there, {without * 1000:.0f} ms absent",
            with_file <= 1.2 * without + 0.01,
        ),
    ]
    report("startup", rows, {"inspect_with_weights": there, "inspect_without": absent})


if __name__ == "__main__":
    main()
