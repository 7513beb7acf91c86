"""A training set with faults planted in it, whose rows are known: what `mmst check` is measured on."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from mmst_cli.builtin.pages import generate_rows

EACH, EVAL_ROWS = 20, 400  # rows of each of the ten kinds, and of evaluation
ALTERED = ("re-encoded", "resized", "cropped")
KINDS = {  # planted kind to the kind of finding that is right
    "truncated file": "broken",
    "swapped columns": "wrong-content",
    "exact duplicate": "duplicates",
    "re-encoded duplicate": "duplicates",
    "resized duplicate": "duplicates",
    "cropped duplicate": "duplicates",
    "eval page": "leakage",
    "blank page": "blank",
    "negative is its positive": "own-positive",
    "overlong text": "extreme",
}
EXACT = [kind for kind in KINDS if kind.split()[0] not in ALTERED]


def plant(folder: Path, rows: int, seed: int = 0, *, each: int = EACH, eval_rows: int = EVAL_ROWS) -> dict[int, str]:
    """Write `train.jsonl` (query, image, negative) and `eval.jsonl` (query, image) with their pages as files.

    Args:
        folder: an empty folder.
        rows: rows of training, planted ones included.
        seed: of what is planted, and where.
        each: rows of each kind of fault.
        eval_rows: rows of evaluation.

    Returns:
        Row of train to the kind of fault that is planted there.
    """
    rng = random.Random(seed)
    (folder / "pages").mkdir(parents=True)
    train = [_write(folder, f"train-{place}", row) for place, row in _generate("train", rows)]
    evaluation = [_write(folder, f"eval-{place}", row) for place, row in _generate("eval", eval_rows)]
    places = rng.sample(range(1, rows), each * len(KINDS))
    planted = {place: kind for i, kind in enumerate(KINDS) for place in places[i * each : (i + 1) * each]}
    whole = [place for place in range(rows) if place not in planted]
    for place, row in enumerate(train):
        row["negative"] = train[rng.choice([p for p in rng.sample(whole, 2) if p != place])]["image"]
    for place, kind in planted.items():
        earlier = [other for other in whole if other < place] or whole
        _spoil(folder, train[place], kind, train[rng.choice(earlier)], rng.choice(evaluation), place, rng)
    for name, content in {"train": train, "eval": evaluation}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    return planted


def _generate(name: str, rows: int) -> enumerate[dict[str, Any]]:
    return enumerate(islice(generate_rows(name, rows), rows))


def _write(folder: Path, name: str, row: dict[str, Any]) -> dict[str, Any]:
    path = folder / "pages" / f"{name}.png"
    path.write_bytes(row["image"]["bytes"])
    return {"query": row["query"], "image": f"pages/{path.name}"}


def _spoil(
    folder: Path, row: dict[str, Any], kind: str, other: dict[str, Any], held_out: dict[str, Any], place: int, rng: Any
) -> None:
    image = folder / row["image"]
    if kind == "truncated file":
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    elif kind == "swapped columns":
        row["query"], row["image"] = row["image"], row["query"]
    elif kind == "exact duplicate":
        row |= {"query": other["query"], "negative": other["negative"]}
        image.write_bytes((folder / other["image"]).read_bytes())
    elif kind.endswith("duplicate"):
        row |= {"query": other["query"], "negative": other["negative"]}
        row["image"] = _alter(folder, other["image"], kind.split()[0], f"altered-{place}", rng)
    elif kind == "eval page" and place % 2:
        image.write_bytes((folder / held_out["image"]).read_bytes())
    elif kind == "eval page":
        row["image"] = _alter(folder, held_out["image"], "re-encoded", f"altered-{place}", rng)
    elif kind == "blank page":
        Image.new("RGB", (96, 128), (250, 250, 248)).save(image)
    elif kind == "negative is its positive" and place % 2:
        row["negative"] = row["image"]
    elif kind == "negative is its positive":
        row["negative"] = _alter(folder, row["image"], "re-encoded", f"altered-{place}", rng)
    else:
        row["query"] = " and ".join([row["query"]] * 60)


def _alter(folder: Path, path: str, how: str, name: str, rng: Any) -> str:
    with Image.open(folder / path) as opened:
        image = opened.convert("RGB")
    change: dict[str, Callable[[], Image.Image]] = {
        "re-encoded": lambda: _as_jpeg(image, rng.randint(40, 90)),
        "resized": lambda: _resize(image, rng.choice([0.6, 0.75, 1.3, 2.0])),
        "cropped": lambda: _crop(image, rng),
    }
    target = folder / "pages" / f"{name}.png"
    change[how]().save(target)
    return f"pages/{target.name}"


def _as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def _resize(image: Image.Image, factor: float) -> Image.Image:
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def _crop(image: Image.Image, rng: Any) -> Image.Image:
    """Cut off up to 4% at every side, and one pixel at least."""
    left, right = (rng.randint(1, image.width // 25) for _ in range(2))
    top, bottom = (rng.randint(1, image.height // 25) for _ in range(2))
    return image.crop((left, top, image.width - right, image.height - bottom))


def write_config(folder: Path) -> Path:
    """Write the config of a small job on what :func:`plant` wrote."""
    columns = {"query": {"role": "anchor"}, "image": {"role": "positive", "modality": "image"}}
    negative = {"negative": {"role": "negative", "modality": "image"}}
    config = {
        "run_name": "planted",
        "output_dir": str(folder / "run"),
        "matryoshka_dims": [128, 32],
        "model": {"name_or_path": "builtin:tiny-qwen3-vl", "dtype": "float32"},
        "datasets": {
            "train": {"use": "train", "path": str(folder / "train.jsonl"), "columns": columns | negative},
            "eval": {"use": "eval", "path": str(folder / "eval.jsonl"), "columns": columns},
        },
        "loss": [
            {"type": "CachedMultipleNegativesRankingLoss", "args": {"mini_batch_size": 32}},
            {"type": "MatryoshkaLoss", "args": {"matryoshka_dims": [128, 32]}},
        ],
        "evaluators": {"pages": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "eval", "dims": [128, 32]}},
        "training": {
            "num_train_epochs": 1,
            "per_device_train_batch_size": 32,
            "learning_rate": 1.5e-3,
            "adam_beta2": 0.95,
            "warmup_steps": 0.05,
            "batch_sampler": "no_duplicates",
            "dataloader_drop_last": True,
            "use_cpu": True,
            "save_strategy": "no",
            "logging_steps": 0.1,
        },
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))  # which is YAML
    return path
