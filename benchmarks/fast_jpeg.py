"""What `media.fast_jpeg` saves, and what it changes: time a page, pixels, and NDCG@10 of the trained quickstart.

    python benchmarks/fast_jpeg.py [--pages 400] [--model RUN]

Pages of the quickstart's evaluation set are drawn anew at 1700 x 2200 pixels and saved as JPEG. Time and pixels are of
a model that sees them at up to 600 x 600; scores of the quickstart's, which sees less. Without --model it is trained
first, about two minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import QUALITY, SIZE, build_model
from reporting import report, row

from mmst_cli.builtin.page_drawing import draw_page
from mmst_cli.builtin.pages import PAGES, write_query
from mmst_cli.config.schema import Config, MediaConfig, Modality, ModelConfig
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import EvaluationOptions
from mmst_cli.media.reading import Reader
from mmst_cli.model.large_images import shrink_large_images
from mmst_cli.model.load_model import load_model
from mmst_cli.terminal import Terminal

ROOT = Path(__file__).parent.parent
TIMED = 40


def draw(folder: Path, count: int) -> Path:
    """Write pages and a table of queries and pages, and return the table."""
    rng, lines = random.Random(7), []
    for number, look in enumerate(PAGES.held_out(count, 0)):
        draw_page(look, number, size=SIZE).save(folder / f"{number}.jpg", quality=QUALITY)
        lines.append(json.dumps({"query": write_query(look, rng), "image": f"{number}.jpg"}))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "rows.jsonl"


def score(model: str, rows: Path, *, fast: bool) -> float:
    """Return NDCG@10."""
    columns = {"query": {"role": "anchor"}, "image": {"role": "positive", "modality": "image"}}
    config = Config.model_validate(
        {
            "model": {"name_or_path": model, "dtype": "float32"},
            "output_dir": tempfile.mkdtemp(),
            "media": {"fast_jpeg": fast},
            "datasets": {"pages": {"use": "eval", "path": str(rows), "columns": columns}},
            "evaluators": {"pages": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "pages"}},
            "training": {"use_cpu": True},
        }
    )
    result = run_evaluation(config, EvaluationOptions(), Terminal()).evaluations["pages"].result
    return result.primary(result.cells[0])


def read(rows: Path, *, fast: bool) -> tuple[float, list[torch.Tensor]]:
    """Return the processor seconds that a page takes to be read and preprocessed, and the pixel values."""
    model = load_model(ModelConfig(name_or_path=str(build_model())), torch.device("cpu"))[0]
    reader = Reader(MediaConfig(fast_jpeg=fast), rows.parent)
    shrink_large_images(model, [reader])
    names = [f"{number}.jpg" for number in range(TIMED)]
    for name in names[:10]:  # and what is found out about a size
        model.preprocess([reader.read(Modality.image, name)])
    begun, pixels = time.process_time(), []
    for name in names[10:]:
        pixels.append(model.preprocess([reader.read(Modality.image, name)])["pixel_values"])
    return (time.process_time() - begun) / len(pixels), pixels


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=400)
    parser.add_argument("--model", help="a run of the quickstart")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = draw(folder, max(options.pages, TIMED))
        model = options.model or str(folder / "run")
        if not options.model:
            command = [sys.executable, "-m", "mmst_cli", "train", str(ROOT / "configs/quickstart.yaml")]
            subprocess.run([*command, f"output_dir={model}"], check=True, stdout=subprocess.DEVNULL)
        (whole, pixels), (fast, others) = (read(rows, fast=fast) for fast in (False, True))
        scores = [score(model, rows, fast=fast) for fast in (False, True)]
    apart = [np.abs((one - other).numpy()) for one, other in zip(pixels, others, strict=True)]
    details: dict[str, Any] = {"seconds": [whole, fast], "scores": scores}
    report(
        "fast_jpeg",
        [
            row("reading and preprocessing a page of 1700x2200, one processor", "-", f"{1000 * whole:.1f} ms", None),
            row("the same with fast_jpeg", "-", f"{1000 * fast:.1f} ms, {whole / fast:.2f}x", None),
            row(
                "pixel values apart, of a range of 2",
                "-",
                f"mean {np.mean([one.mean() for one in apart]):.4f}, most {max(one.max() for one in apart):.2f}",
                None,
            ),
            row("NDCG@10 without and with it", "-", f"{scores[0]:.4f} and {scores[1]:.4f}", None),
        ],
        details,
    )


if __name__ == "__main__":
    main()
