"""The folders in which the commands of the pages run: what a reader has there, in small."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import yaml
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from page_blocks import ROOT
from PIL import Image, ImageDraw
from small_job import write_pages
from text_job import text_rows

from mmst_cli.builtin.pages import generate_rows
from mmst_cli.builtin.registry import build_builtin

Give = Callable[[Path], None]
FEW_STEPS = {"max_steps": 2, "per_device_train_batch_size": 8, "eval_strategy": "no", "save_strategy": "no"}
COLOURS = ("red", "blue", "green", "yellow")


def clone(folder: Path) -> None:
    """A clone of the repository, whose configs take few rows and steps, and on a CPU."""
    (folder / "docs").mkdir()
    for name in ("docs/example-pages", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "configs").mkdir()
    rows = folder / "rows"
    rows.mkdir()
    for name, count in {"train": 24, "eval": 16}.items():
        write_pages(rows / f"{name}.parquet", name, count)
        _write_vdr(rows / f"vdr-{name}.parquet", name, count)
    for name in ("quickstart", "vdr", "vdr-lora"):
        _write_small(folder, name, "vdr-" if name.startswith("vdr") else "")


def _write_small(folder: Path, name: str, prefix: str) -> None:
    """Write a config that ships, with what is too large for a test replaced."""
    config = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text(encoding="utf-8"))
    for section, dataset in config["datasets"].items():
        config["datasets"][section] = {
            **{key: dataset[key] for key in ("use", "columns")},
            "path": f"rows/{prefix}{section}.parquet",
        }
    config["training"] |= {**FEW_STEPS, "use_cpu": True, "bf16": False}
    config["matryoshka_dims"] = [128, 64]
    if prefix:
        config["model"] |= {"name_or_path": "builtin:tiny-qwen3-vl", "dtype": "float32", "attn_implementation": "auto"}
        del config["model"]["revision"]
    else:
        config["loss"][0]["args"]["mini_batch_size"] = 8
    (folder / f"configs/{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def _write_vdr(path: Path, name: str, count: int) -> None:
    """Write pages with negatives beside them: one in training, four in evaluation."""
    negatives = [f"negative_{number}" for number in range(1 if name == "train" else 4)]
    rows = list(generate_rows(name, count))
    for place, row in enumerate(rows):
        row |= {negative: rows[(place + number + 1) % count]["image"] for number, negative in enumerate(negatives)}
    features = Features({"query": Value("string")} | {media: ImageFeature() for media in ("image", *negatives)})
    Dataset.from_list(rows, features=features).to_parquet(str(path))


def table(name: str, *, columns: Mapping[str, str], rows: int = 40) -> Give:
    """Return what writes generated pages as a table whose columns have these names."""

    def write(folder: Path) -> None:
        write_pages(folder / "generated.parquet", "train", rows)
        content = pyarrow.parquet.read_table(folder / "generated.parquet")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(content.select(list(columns)).rename_columns(list(columns.values())), folder / name)
        (folder / "generated.parquet").unlink()

    return write


def texts(name: str, *, rows: int = 40) -> Give:
    """Return what writes questions and answers."""

    def write(folder: Path) -> None:
        content = [{"question": row["query"], "answer": row["doc"]} for row in text_rows(rows)]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), folder / name)
        else:
            Dataset.from_list(content).to_json(folder / name, compression="gzip")

    return write


def model(name: str, builtin: str) -> Give:
    """Return what puts a built-in model in the place of one of the hub."""

    def copy(folder: Path) -> None:
        shutil.copytree(build_builtin(builtin), folder / name)

    return copy


def reranker(name: str) -> Give:
    """Return what puts a CrossEncoder that knows nothing in the place of one of the hub."""

    def save(folder: Path) -> None:
        from sentence_transformers import CrossEncoder

        CrossEncoder(str(build_builtin("builtin:tiny-text")), num_labels=1, device="cpu").save(str(folder / name))

    return save


def made(name: str, script: str, option: str, count: int) -> Give:
    """Return what has a script of an example make its files."""

    def make(folder: Path) -> None:
        words = [sys.executable, str(ROOT / script), name, option, str(count)]
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    return make


def photos(folder: Path) -> None:
    """112 small photos with a sentence about each, so many that some are held back to evaluate on."""
    (folder / "photos").mkdir()
    lines, rng = ["file_name,text"], np.random.default_rng(0)
    for number in range(112):
        shape, wall = COLOURS[number % 4], COLOURS[(number // 4 + number % 4 + 1) % 4]
        tint = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((64, 48))
        photo = Image.blend(Image.new("RGB", (64, 48), wall), tint, 0.5)
        place = 8 + number % 20
        ImageDraw.Draw(photo).ellipse((place, 8, place + 12 + number % 16, 36), fill=shape)
        photo.save(folder / f"photos/IMG_{number:04d}.jpg")
        lines.append(f"IMG_{number:04d}.jpg,photo {number} of a {shape} circle on a {wall} wall")
    (folder / "photos/metadata.csv").write_text("\n".join(lines) + "\n")


def scans(folder: Path) -> None:
    """A photo, and a PDF file of three pages."""
    pages = [Image.new("RGB", (64, 48), colour) for colour in COLOURS]
    pages[0].save(folder / "photo.jpg")
    pages[1].save(folder / "manual.pdf", save_all=True, append_images=pages[2:])


def file(name: str, content: str) -> Give:
    """Return what writes a file."""

    def write(folder: Path) -> None:
        (folder / name).write_text(content)

    return write
