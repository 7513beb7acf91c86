"""Data with planted faults, small; and data of a few rows of any kind."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from mmst_cli.checking.check import CheckOptions, run_check
from mmst_cli.config.rules import load_checked_config

_PLANTED = Path(__file__).parents[2] / "benchmarks" / "planted.py"


@pytest.fixture(scope="session")
def planted():
    """The module that plants faults for the benchmark."""
    spec = importlib.util.spec_from_file_location("planted", _PLANTED)
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def spoilt(planted, tmp_path_factory):
    """Folder of a training set of 90 rows with three faults of each kind; ``spoilt.faults`` says where they are."""

    class Spoilt:
        folder = tmp_path_factory.mktemp("spoilt")
        faults = planted.plant(folder, 90, each=3, eval_rows=40)
        config = planted.write_config(folder)

    return Spoilt


@pytest.fixture
def check(quiet, tmp_path):
    """A function that checks a config, every row of it, and returns what was found."""

    def run(config, *overrides, **options):
        settings = load_checked_config(config, list(overrides))
        defaults = {"sample": None, "output": tmp_path / "check", "workers": 2, "model": False}
        return run_check(settings, CheckOptions(**{**defaults, **options}), quiet)

    return run


@pytest.fixture
def job(tmp_path):
    """A function that writes rows as jsonl files and a config on them; columns are `name: role:modality`."""

    def write(columns, loss="MultipleNegativesRankingLoss", **sets):
        declared = {
            name: dict(zip(("role", "modality"), kind.split(":"), strict=True)) for name, kind in columns.items()
        }
        datasets = {}
        for name, rows in sets.items():
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            use = "eval" if name.startswith("eval") else "train"
            path = str(tmp_path / f"{name}.jsonl")
            datasets[name] = {"use": use, "path": path, "columns": {c: declared[c] for c in rows[0] if c in declared}}
        config = {
            "model": {"name_or_path": "builtin:tiny-qwen3-vl"},
            "datasets": datasets,
            "loss": [{"type": loss}],
            "training": {"use_cpu": True, "per_device_train_batch_size": 4},
        }
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(config))
        return path

    return write


@pytest.fixture
def picture(tmp_path, page_rows):
    """A function that saves the n-th generated page, changed if asked, and returns its file's name."""
    pages = [page for _, page in page_rows(40, seed=5)]

    def save(number, name=None, change=lambda page: page):
        path = tmp_path / (name or f"{number}.png")
        change(pages[number]).save(path)
        return path.name

    return save


@pytest.fixture
def blank(tmp_path):
    """The name of an image file that shows nothing."""
    Image.new("RGB", (96, 128), "white").save(tmp_path / "blank.png")
    return "blank.png"
