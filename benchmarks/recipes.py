"""What recipes are worth on the quickstart's pages, each beside the plain one at the same number of images seen.

    python benchmarks/recipes.py [--seeds 42,43,44] [--base-steps 270] [--steps 135] [--arms ...] [--folder FOLDER]

For each seed the quickstart is trained: the base. From there it is trained on, every step with 64 images: by the plain
recipe; with false negatives masked; with negatives that the model mines itself at the beginning of each of three
epochs; and distilled from the scores that a teacher, twice as deep and trained for twice as long, gives to mined
negatives. "merged" is the average of three trainings of a third of the steps each, of their own seeds. "masked from
the start" is the quickstart itself with false negatives masked, beside the base. Differences are compared query by
query, each the mean over the seeds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mining import CONFIG, IMAGES, MARGIN, QUIET, RANGE, RATE, mmst, ndcg
from reporting import report, row

from mmst_cli.evaluation.statistics import compare

NEGATIVES = 3  # of a distilled row
ROUNDS = 3
MASKED = "loss.0.args.mask_false_negatives=0.1"
DISTILL = (
    "loss=[{type: DistillKLDivLoss, args: {student_temperature: 0.05, teacher_temperature: 0.05}},"
    " {type: MatryoshkaLoss, args: {matryoshka_dims: '${matryoshka_dims}'}}]"
)
BASE, PLAIN = "base", "plain"


def train(folder: Path, seed: int, steps: int, *changes: object, base: Path | None = None) -> Path:
    """Train the quickstart, from scratch or a base model on, unless that was done; return the run."""
    if not (folder / "eval" / "pages.json").exists():
        told = [f"output_dir={folder}", f"training.seed={seed}", f"training.max_steps={steps}", *QUIET, *changes]
        if base is not None:
            told += [f"model.name_or_path={base / 'model'}", f"training.learning_rate={RATE}"]
        mmst("train", CONFIG, *told, "--overwrite")
    return folder


def build_teacher(folder: Path) -> Path:
    """Build the quickstart's model twice as deep, untrained."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import Qwen3VLModel

    from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl

    model = SentenceTransformer(str(build_tiny_qwen3vl()), device="cpu")
    config = model[0].auto_model.config
    config.text_config.num_hidden_layers *= 2
    if getattr(config.text_config, "layer_types", None):
        config.text_config.layer_types *= 2
    config.vision_config.depth *= 2
    torch.manual_seed(0)
    model[0].auto_model = Qwen3VLModel(config)
    model.save_pretrained(str(folder))
    return folder


def teacher_of(folder: Path, steps: int) -> Path:
    """Return the teacher's run, trained unless that was done."""
    built = folder / "teacher-untrained"
    if not built.exists():
        build_teacher(built)
    return train(folder / "teacher", 1, 2 * steps, f"model.name_or_path={built}", "training.num_train_epochs=2")


def scored_by(teacher: Path, base: Path, rows: int, output: Path) -> Path:
    """Mine negatives of so many rows by the base model, and have the teacher score them and the positive."""
    wanted = ("--num-negatives", NEGATIVES, "--batch-size", 64, "--relative-margin", MARGIN, "--range-max", RANGE)
    if not output.exists():
        few = f"datasets.train.max_rows={rows}"
        mmst("mine", CONFIG, few, "--model", base, "--second-model", teacher, "--output", output, "--resume", *wanted)
    return output


def distilled(folder: Path, seed: int, steps: int, base: Path, teacher: Path) -> Path:
    """Train a base model on by the scores of a teacher."""
    batch = IMAGES // (1 + NEGATIVES)
    rows = scored_by(teacher, base, steps * batch, folder.with_suffix(".parquet"))
    columns = {f"negative_{number + 1}": "{role: negative, modality: image}" for number in range(NEGATIVES)}
    columns["scores"] = "{role: label}"
    changes = [f"datasets.train.columns.{name}={told}" for name, told in columns.items()]
    changes += [f"datasets.train.path={rows}", "datasets.train.name=null", DISTILL]
    changes += [f"training.per_device_train_batch_size={batch}", "training.num_train_epochs=2"]
    return train(folder, seed, steps, *changes, base=base)


def merged(folder: Path, seed: int, steps: int, base: Path) -> Path:
    """Train a base model on three times, for a third of the steps each, and average the three."""
    output = folder / "merged"
    if not (folder / "eval" / "pages.json").exists():
        runs = [train(folder / str(part), 10 * seed + part, steps // 3, base=base) for part in range(3)]
        mmst("merge", *runs, "--output", output, "--overwrite")
        mmst("eval", output, "--config", CONFIG, "--output", folder / "eval")
    return folder


def in_rounds(folder: Path, seed: int, steps: int, base: Path) -> Path:
    """Train a base model on, which mines a negative a row itself at the beginning of each epoch."""
    batch = IMAGES // 2
    changes = [
        f"datasets.train.max_rows={steps * batch // ROUNDS}",
        f"datasets.train.mine={{every_epochs: 1, model: self, num_negatives: 1, relative_margin: {MARGIN}, "
        f"range_max: {RANGE}}}",
        f"training.num_train_epochs={ROUNDS}",
        f"training.per_device_train_batch_size={batch}",
    ]
    return train(folder, seed, steps, *changes, base=base)


Recipe = Callable[[Path, int, Path, Path], Path]


def recipes(options: argparse.Namespace) -> dict[str, tuple[str, Recipe]]:
    """Return each arm: what it is compared with, and what trains it of a folder, a seed, the base and the teacher."""
    steps, whole = options.steps, options.base_steps
    return {
        PLAIN: (BASE, lambda run, seed, base, _: train(run, seed, steps, base=base)),
        "masked": (PLAIN, lambda run, seed, base, _: train(run, seed, steps, MASKED, base=base)),
        "merged": (PLAIN, lambda run, seed, base, _: merged(run, seed, steps, base)),
        "distilled": (PLAIN, lambda run, seed, base, teacher: distilled(run, seed, steps, base, teacher)),
        "mined in rounds": (PLAIN, lambda run, seed, base, _: in_rounds(run, seed, steps, base)),
        "masked from the start": (BASE, lambda run, seed, base, _: train(run, seed, whole, MASKED)),
    }


def rows_of(scores: dict[str, list[np.ndarray]], against: dict[str, str]) -> tuple[list[dict], dict]:
    """Return what is said of each arm that is there, and its figures."""
    means = {arm: np.mean(found, axis=0) for arm, found in scores.items()}
    lines = [row("NDCG@10", "-", ", ".join(f"{arm} {values.mean():.4f}" for arm, values in means.items()), None)]
    details = {}
    for arm, other in against.items():
        if arm not in means or other not in means or arm == PLAIN:
            continue
        found = compare(means[arm][:, None], means[other][:, None])
        low, high = map(float, found.interval[0])
        by_seed = [float((a - b).mean()) for a, b in zip(scores[arm], scores[other], strict=True)]
        details[f"{arm} - {other}"] = {
            "difference": float(found.difference[0]),
            "interval": [low, high],
            "seeds": by_seed,
        }
        seeds = ", ".join(f"{one:+.4f}" for one in by_seed)
        measured = f"{found.difference[0]:+.4f} ({low:+.4f} to {high:+.4f}); seeds {seeds}"
        lines.append(row(f"{arm} minus {other}, paired over queries", "-", measured, None))
    return lines, details


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="42,43,44")
    parser.add_argument("--base-steps", type=int, default=270)
    parser.add_argument("--steps", type=int, default=135)
    parser.add_argument("--arms", nargs="+", help="all if left out")
    parser.add_argument("--folder", type=Path, help="where runs are kept, so that a stopped benchmark goes on")
    options = parser.parse_args()
    known = recipes(options)
    arms = options.arms or list(known)
    scores: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        seeds = [int(seed) for seed in options.seeds.split(",")]
        bases = {seed: train(folder / f"base-{seed}", seed, options.base_steps) for seed in seeds}
        scores[BASE] = [ndcg(base) for base in bases.values()]
        for arm in arms:
            teacher = teacher_of(folder, options.base_steps) if arm == "distilled" else Path()
            runs = [
                known[arm][1](folder / f"{arm.replace(' ', '-')}-{seed}", seed, base, teacher)
                for seed, base in bases.items()
            ]
            scores[arm] = [ndcg(run) for run in runs]
            print(f"{arm}: {', '.join(f'{one.mean():.4f}' for one in scores[arm])}", file=sys.stderr, flush=True)
            lines, details = rows_of(scores, {name: other for name, (other, _) in known.items()})
            report("recipes", lines, {**vars(options), "folder": None, **details})


if __name__ == "__main__":
    main()
