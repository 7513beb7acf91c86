"""What decides the output of `mmst mine`, as it is recorded."""

from dataclasses import replace
from pathlib import Path

import pytest

from mmst_cli.config.schema import MineConfig
from mmst_cli.errors import RunError
from mmst_cli.mining.mining_job import MiningOptions, describe_job
from mmst_cli.mining.mining_target import find_target
from mmst_cli.work import check_same_job

COLUMN = {"modality": "text", "parts": {}, "message": [], "pages": None, "take": None}
BEFORE = {
    "rows": "60 rows, e15fcc31768c21799d0785b0c6e352ae",
    "model": {"section": {"name_or_path": "builtin:tiny-text"}, "content": {"model": "a066d6ede5a5daed"}},
    "second_model": None,
    "settings": {
        "revision": None,
        "num_negatives": 2,
        "range_min": 0,
        "range_max": None,
        "max_score": None,
        "min_score": None,
        "absolute_margin": None,
        "relative_margin": 0.01,
        "sampling_strategy": "top",
        "index": "exact",
        "batch_size": 32,
    },
    "seed": 42,
    "embed_media": False,
    "rows_per_part": 2000,
    "media": {"max_seconds": None, "fps": None, "max_frames": None, "max_pixels": None, "dpi": 150},
    "prompts": {},
    "columns": {"query": {"role": "anchor", **COLUMN}, "answer": {"role": "positive", **COLUMN}},
    "precision": {"bf16": None, "fp16": None},
}
"""As the first version that mined wrote it."""


@pytest.fixture
def target():
    """What `mmst mine rows.parquet` with two columns and a model is asked for."""
    data = {"anchor": "query", "positive": "answer", "name": None, "split": None, "sql": None}
    return find_target("rows.parquet", [], dataset=None, data=data, settings={"model": "builtin:tiny-text"})


def test_earlier_work_is_of_the_same_job(target):
    options = MiningOptions("train", MineConfig(num_negatives=2, relative_margin=0.01), Path("mined.parquet"))
    models = {name: BEFORE[name] for name in ("model", "second_model")}

    def now(options):
        return describe_job(target.config, target.config.datasets["train"], options, BEFORE["rows"], models)

    check_same_job(Path("mined.parquet"), BEFORE, now(options))
    with pytest.raises(RunError, match="rows_per_part 2000, and now it is 5"):
        check_same_job(Path("mined.parquet"), BEFORE, now(replace(options, rows_per_part=5)))
