"""What `configs/vdr.yaml` names, tiny, for the stand-in hub: the model at its revision and the dataset."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, Value
from stand_in import StandInHub

from mmst_cli.builtin.page_drawing import Attributes, draw_page
from mmst_cli.builtin.pages import PAGES, write_query
from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl

MODEL = "Qwen/Qwen3-VL-Embedding-2B"
MODEL_REVISION = "refs/pr/23"
DATASET = "tomaarsen/llamaindex-vdr-en-train-preprocessed"
TRAIN_ROWS, EVAL_ROWS, EVAL_NEGATIVES = 96, 16, 4
LARGE_PAGE = (768, 1024)  # pixels; more than the 360,000 that configs/vdr.yaml allows


def add_reference_job(hub: StandInHub, folder: Path) -> None:
    """Serve what `configs/vdr.yaml` names, tiny: the model at its revision and the dataset's two configurations.

    The model's ``main`` holds no model, so that loading it without the revision fails.
    """
    main = folder / "model-main"
    main.mkdir()
    (main / "README.md").write_text("---\nlicense: apache-2.0\n---\nThe model is at another revision.\n")
    hub.add("models", MODEL, main)
    hub.add("models", MODEL, build_tiny_qwen3vl(), MODEL_REVISION)
    hub.add("datasets", DATASET, write_dataset(folder / "dataset"))


def write_dataset(folder: Path) -> Path:
    """Write a dataset repository with the reference's configurations, columns and splits.

    The first query of each is an address of an image: text all the same. The first page of each is larger
    than the job's pixel bound.
    """
    held_out = PAGES.held_out(EVAL_ROWS, seed=7)
    tables = {
        "train": _rows("train", PAGES.others(TRAIN_ROWS, set(held_out), seed=7), negatives=1),
        "eval": _rows("eval", held_out, negatives=EVAL_NEGATIVES),
    }
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n" for name in tables
    )
    for name, rows in tables.items():
        images = [column for column in rows[0] if column == "image" or column.startswith("negative_")]
        texts = [column for column in rows[0] if column not in images]
        features = Features({**{name: Value("string") for name in texts}, **{name: Image() for name in images}})
        (folder / name).mkdir(parents=True)
        table = Dataset.from_list(rows, features=features)
        table.to_parquet(folder / name / "train-00000-of-00001.parquet")
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\nPages and queries about them.\n")
    return folder


def _rows(name: str, pages: Iterable[Attributes], negatives: int) -> list[dict[str, Any]]:
    """Return rows with near misses of the page as hard negatives, and columns that no config declares."""
    rng = random.Random(f"{name}-stand-in")
    first_noise = 50_000_000 if name == "eval" else 40_000_000
    rows: list[dict[str, Any]] = []
    for index, page in enumerate(pages):
        noise = first_noise + 10 * index
        size = {} if index else {"size": LARGE_PAGE}
        row: dict[str, Any] = {
            "id": f"{name}-{index}",
            "query": write_query(page, rng) if index else f"https://pages.invalid/{name}.png",
            "url": f"https://pages.invalid/{name}-{index}.png",
            "image": draw_page(page, noise, **size),
        }
        for number in range(negatives):
            row[f"negative_{number}"] = draw_page(PAGES.near_miss(page, rng, 1 + number % 2), noise + 1 + number)
        rows.append(row)
    return rows
