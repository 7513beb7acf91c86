"""A killed `mmst mine`, resumed, gives what an undisturbed one gives."""

import random
import signal
import time

import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature

ROUNDS = 2
IN_SMALL_PARTS = """
from dataclasses import replace
from mmst_cli.mining import mine
run_mining = mine.run_mining
mine.run_mining = lambda config, options, *others: run_mining(config, replace(options, rows_per_part=5), *others)
"""


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(pair, page_rows, encoded, tmp_path):
    rows = [{"query": q, "image": {"bytes": encoded(p), "path": None}} for q, p in page_rows(40)]
    features = Features({"query": Value("string"), "image": ImageFeature()})
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "rows.parquet"))
    (tmp_path / "in_small_parts.py").write_text(IN_SMALL_PARTS)
    words = ["mine", "rows.parquet", "--anchor", "query", "--positive", "image:image", "--batch-size", "4"]
    words += ["--model", "builtin:tiny-qwen3-vl", "--relative-margin", "0", "--output"]
    begun, rng, hits = time.monotonic(), random.Random(7), 0
    done = pair.alone(tmp_path, *words, "whole/mined.parquet", IMPORT_FIRST="in_small_parts")
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - begun
    for number in range(ROUNDS):
        output, code = f"killed-{number}/mined.parquet", None
        while code != 0:
            process = pair.start(tmp_path, *words, output, "--resume", IMPORT_FIRST="in_small_parts")
            time.sleep(rng.uniform(0.3, 1.0) * seconds)
            if hits < 3 * (number + 1):
                process.signal(signal.SIGKILL)
            code = process.wait()
            hits += code == -signal.SIGKILL
            assert code in (0, -signal.SIGKILL), process.err
        assert not (tmp_path / f"killed-{number}/.mined.parquet.work").exists()
    assert hits >= 3
    whole = files(tmp_path / "whole")
    assert {"mined.parquet", "mined.html"} <= set(whole)
    for number in range(ROUNDS):
        assert files(tmp_path / f"killed-{number}") == whole
