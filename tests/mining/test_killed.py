"""A killed `mmst mine`, resumed, gives what an undisturbed one gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature

SCRIPT = Path(__file__).parent / "kill_at_random.py"


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(page_rows, encoded, tmp_path):
    rows = [{"query": q, "image": {"bytes": encoded(p), "path": None}} for q, p in page_rows(40)]
    features = Features({"query": Value("string"), "image": ImageFeature()})
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "rows.parquet"))
    arguments = [str(tmp_path / "rows.parquet"), "--anchor", "query", "--positive", "image:image"]
    arguments += ["--model", "builtin:tiny-qwen3-vl", "--batch-size", "4", "--relative-margin", "0"]
    environment = {**os.environ, "MINE_LOG": str(tmp_path / "log.txt"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), "7", "2", str(tmp_path / "out"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + (tmp_path / "log.txt").read_text()
    assert int(done.stdout) >= 3
    whole = files(tmp_path / "out" / "whole")
    assert {"mined.parquet", "mined.html"} <= set(whole)
    for number in range(2):
        assert files(tmp_path / "out" / f"killed-{number}") == whole
