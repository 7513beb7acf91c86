"""Training with mined negatives beside training with random ones, at the same number of images seen.

    python benchmarks/mining.py [--seeds 42,43,44] [--base-steps 270] [--steps 270] [--folder FOLDER]

For each seed the quickstart is trained, and its model mines a negative for each row. Then the model is trained on,
from there and by the same schedule, in four ways that differ in what the loss compares a query with: mined negatives,
mined ones without a margin, random ones (any other page), and none but those of the batch, which is twice as large
then, so that every step sees as many images. Differences are compared query by query, each the mean over the seeds. As
the pages are generated, it is known how many negatives are false: pages of the very combination that is asked for.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from reporting import report, row

from mmst_cli.builtin.pages import EVAL_ROWS, PAGES, TRAIN_ROWS
from mmst_cli.evaluation.evaluation_results import load_evaluation
from mmst_cli.evaluation.statistics import compare

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "quickstart.yaml"
IMAGES = 64  # a step
MARGIN, RANGE = 0.05, 300
RATE = 5e-4  # of the second training; the first one is at 1.5e-3
QUIET = ['training.eval_strategy="no"', 'training.save_strategy="no"']
ARMS = ("mined", "random", "mined without a margin", "in-batch")


def mmst(*arguments: object) -> dict:
    command = [sys.executable, "-m", "mmst_cli", *map(str, arguments), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def mine(base: Path, output: Path, *limits: object) -> dict:
    """Mine by a base model, its rows numbered by the order of the pages, and return what was found."""
    begun = time.perf_counter()
    wanted = ("--num-negatives", 1, "--batch-size", 64, *limits)
    told = mmst("mine", CONFIG, "--model", base, "--output", output, "--resume", *wanted)
    return {**told, "wall": time.perf_counter() - begun, "false": false_share(output)}


def combination_of_pages() -> list[tuple]:
    held_out = set(PAGES.held_out(EVAL_ROWS, 0))
    return [tuple(asdict(page).values()) for page in PAGES.others(TRAIN_ROWS, held_out, 0)]


def false_share(output: Path) -> dict[str, float]:
    """Return the share of mined negatives by how many attributes differ from what is asked for; 0 is a false one."""
    table = pq.read_table(output)
    images, negatives = (np.array([cell["path"] for cell in table[n].to_pylist()]) for n in ("image", "negative_1"))
    everywhere = mined_numbers(output)
    attributes = combination_of_pages()
    apart = [
        sum(a != b for a, b in zip(attributes[everywhere[i]], attributes[everywhere[n]], strict=True))
        for i, n in zip(images, negatives, strict=True)
    ]
    return {str(number): float(np.mean(np.array(apart) == number)) for number in range(7)}


def mined_numbers(output: Path) -> dict[str, int]:
    """Return the file of each page to its number in the source, by content."""
    import xxhash
    from datasets import load_from_disk

    from mmst_cli.builtin.pages import build_pages
    from mmst_cli.sources.tables import leave_undecoded

    pages = leave_undecoded(load_from_disk(str(build_pages("train"))), ["image"])
    media = output.with_suffix(".media").name
    contents = (cell["bytes"] for cell in pages.select_columns(["image"])[:]["image"])
    return {f"{media}/{xxhash.xxh3_128_hexdigest(content)}.png": n for n, content in enumerate(contents)}


def with_random_negatives(mined: Path, output: Path, seed: int) -> Path:
    """Write the same rows with any other page as the negative; each page is one once."""
    table = pq.read_table(mined)
    order = np.random.default_rng(seed).permutation(len(table))
    same = order == np.arange(len(table))
    order[same] = np.roll(order[same], 1)
    shuffled = table["image"].take(pa.array(order))
    pq.write_table(
        table.set_column(table.column_names.index("negative_1"), table.field("negative_1"), shuffled), output
    )
    return output


def train_on(base: Path, folder: Path, rows: Path | None, seed: int, steps: int) -> np.ndarray:
    """Train the base model on, unless that was done, and return the NDCG@10 of each query at the full dimension."""
    if (folder / "eval" / "pages.json").exists():
        return ndcg(folder)
    changes = [f"model.name_or_path={base / 'model'}", f"output_dir={folder}", f"training.seed={seed}", *QUIET]
    changes += [f"training.max_steps={steps}", f"training.learning_rate={RATE}"]
    if rows is not None:
        changes += [f"datasets.train.path={rows}", "datasets.train.name=null"]
        changes += ["datasets.train.columns.negative_1={role: negative, modality: image}"]
        changes += [f"training.per_device_train_batch_size={IMAGES // 2}"]
    mmst("train", CONFIG, *changes, "--overwrite")
    return ndcg(folder)


def ndcg(folder: Path) -> np.ndarray:
    evaluation = load_evaluation(folder / "eval" / "pages.json")
    return np.asarray(evaluation.per_query[evaluation.result.full.key])


def run_seed(folder: Path, seed: int, arms: Sequence[str], base_steps: int, steps: int) -> dict:
    """Train the base model unless it is there, and train it on in these ways."""
    base = folder / "base"
    if not (base / "eval" / "pages.json").exists():
        changes = [f"output_dir={base}", f"training.seed={seed}", f"training.max_steps={base_steps}"]
        mmst("train", CONFIG, *changes, *QUIET, "--overwrite")
    files = {arm: folder / f"{arm.split()[-1]}.parquet" for arm in ARMS}
    limits = {"mined": ("--relative-margin", MARGIN, "--range-max", RANGE), "mined without a margin": ()}
    mining = {arm: mine(base, files[arm], *limits[arm]) for arm in arms if arm in limits}
    if "random" in arms:
        with_random_negatives(files["mined"], files["random"], seed)
    scores = {}
    for arm in arms:
        rows = None if arm == "in-batch" else files[arm]
        scores[arm] = train_on(base, folder / arm.split()[-1], rows, seed, steps)
        print(f"seed {seed}: base {ndcg(base).mean():.4f}, {arm} {scores[arm].mean():.4f}", file=sys.stderr, flush=True)
    return {"base": ndcg(base), "scores": scores, "mining": mining}


def rows_of(results: list[dict]) -> tuple[list[dict], dict]:
    arms = [arm for arm in ARMS if all(arm in result["scores"] for result in results)]
    means = {arm: np.mean([result["scores"][arm] for result in results], axis=0) for arm in arms}
    base = float(np.mean([result["base"] for result in results]))
    lines, details = [], {"base": base}
    scores = ", ".join(f"{arm} {values.mean():.4f}" for arm, values in means.items())
    lines.append(row("NDCG@10 by what a query is compared with", "-", f"base {base:.4f}; {scores}", None))
    for other in arms[1:]:
        found = compare(means["mined"][:, None], means[other][:, None])
        low, high = found.interval[0]
        by_seed = [float((r["scores"]["mined"] - r["scores"][other]).mean()) for r in results]
        details[f"mined - {other}"] = {
            "difference": float(found.difference[0]),
            "interval": [low, high],
            "seeds": by_seed,
        }
        must = "interval above 0" if other == "random" else "-"
        measured = (
            f"{found.difference[0]:+.4f} ({low:+.4f} to {high:+.4f}); seeds {', '.join(f'{d:+.4f}' for d in by_seed)}"
        )
        lines.append(
            row(
                f"mined minus {other}, paired over queries",
                must,
                measured,
                bool(low > 0) if other == "random" else None,
            )
        )
    for kind in (arm for arm in arms if arm.startswith("mined")):
        found = [result["mining"][kind] for result in results]
        false = np.mean([one["false"]["0"] for one in found])
        one_off = np.mean([one["false"]["1"] for one in found])
        seconds = np.mean([one["wall"] for one in found])
        kept = np.mean([one["kept"] / one["rows"] for one in found])
        measured = f"{false:.1%} false, {one_off:.1%} differ in one attribute; {kept:.1%} of rows kept, {seconds:.0f} s"
        lines.append(row(f"{kind}: the negatives", "-", measured, None))
    return lines, details


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--base-steps", type=int, default=270)
    parser.add_argument("--steps", type=int, default=270)
    parser.add_argument("--folder", type=Path, help="where runs are kept, so that a stopped benchmark goes on")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    results: list[dict] = [{"scores": {}, "mining": {}} for _ in seeds]
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        for arms in (ARMS[:2], ARMS[2:]):  # what is decided first
            for seed, result in zip(seeds, results, strict=True):
                found = run_seed(folder / str(seed), seed, arms, options.base_steps, options.steps)
                result["base"] = found["base"]
                result["scores"] |= found["scores"]
                result["mining"] |= found["mining"]
            lines, details = rows_of(results)
            settings = {**vars(options), "folder": None, "margin": MARGIN, "range_max": RANGE, "rate": RATE}
            report("mining", lines, {**settings, **details, "mining": [result["mining"] for result in results]})


if __name__ == "__main__":
    main()
