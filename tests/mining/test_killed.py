"""A killed `mmst mine`, resumed, gives what an undisturbed one gives."""

import random
import shutil
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
    pair.alone(tmp_path, "--version")  # from now on a command takes as long as its work
    begun, rng = time.monotonic(), random.Random(7)
    done = pair.alone(tmp_path, *words, "whole/mined.parquet", IMPORT_FIRST="in_small_parts")
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - begun
    whole = files(tmp_path / "whole")
    assert {"mined.parquet", "mined.html"} <= set(whole)
    for number in range(ROUNDS):
        folder, kills, code = tmp_path / f"killed-{number}", 0, None
        while code != 0:
            output = str(folder / "mined.parquet")
            process = pair.start(tmp_path, *words, output, "--resume", IMPORT_FIRST="in_small_parts")
            if kills < 3:
                time.sleep(rng.uniform(0.3, 1.0) * seconds)
                process.signal(signal.SIGKILL)
            code = process.wait()
            assert code in (0, -signal.SIGKILL), process.err
            kills += code == -signal.SIGKILL
            if code == 0 and kills < 2:  # the machine has become quicker: begin again, and kill sooner
                shutil.rmtree(folder)
                seconds, kills, code = seconds / 2, 0, None
        assert files(folder) == whole
