"""Encoding in several processes: the vectors of one process, each input encoded once, one sentence where it fails."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from counted_memory import LIMITED


@pytest.fixture
def collection(tmp_path, pages):
    folder = tmp_path / "pages"
    folder.mkdir()
    for number in range(23):
        pages[number % len(pages)].rotate(number, expand=True).save(folder / f"{number:02d}.png")
    (folder / "07.png").write_bytes(b"no image")
    return folder


def encode(pair, folder, *arguments, count=2, **more):
    return pair.run(folder, "encode", "builtin:tiny-qwen3-vl", *arguments, count=count, **more)


def vectors(folder):
    table = pq.read_table(folder)
    return table["id"].to_pylist(), np.stack(table["embedding"].to_numpy())


def test_two_processes_write_what_one_writes(pair, tmp_path, collection):
    alone = encode(pair, tmp_path, "pages", "--output", "alone", "--rows-per-part", "9", count=1)
    shared = encode(pair, tmp_path, "pages", "--output", "shared", "--rows-per-part", "9")
    assert alone.codes == [1] and shared.codes[0] == 1, shared.err  # of one that can't be read
    ids, expected = vectors(tmp_path / "alone")
    found_ids, found = vectors(tmp_path / "shared")
    assert found_ids == ids and len(ids) == 22
    assert np.abs(found - expected).max() < 1e-5
    assert (tmp_path / "shared/_errors.jsonl").read_text() == (tmp_path / "alone/_errors.jsonl").read_text()
    assert shared.err[0].count("07.png") <= 1 and not shared.out[1] and "Traceback" not in "".join(shared.err)
    again = encode(pair, tmp_path, "pages", "--output", "shared", "--rows-per-part", "9", "--resume")
    assert again.codes[0] == 1 and vectors(tmp_path / "shared")[0] == ids


def test_each_process_encodes_its_share(pair, tmp_path, collection):
    (tmp_path / "counted.py").write_text(
        "import os\n"
        "from mmst_cli.vectors import shared_encoding\n"
        "encode = shared_encoding._encode_references\n"
        "def counted(model, references, **more):\n"
        "    with open(f'share-{os.environ[\"RANK\"]}', 'a') as file:\n"
        "        file.write('.' * len(references))\n"
        "    return encode(model, references, **more)\n"
        "shared_encoding._encode_references = counted\n"
    )
    done = encode(pair, tmp_path, "pages", "--output", "v", environment={"IMPORT_FIRST": "counted"})
    assert done.codes[0] == 1, done.err
    assert sorted(len((tmp_path / f"share-{rank}").read_text()) for rank in range(2)) == [11, 12]


def test_all_take_the_smallest_batch_that_one_of_them_found(pair, tmp_path):
    (tmp_path / "limited.py").write_text(LIMITED)
    (tmp_path / "texts.txt").write_text("\n".join(f"text {n} " + "and more " * (n % 9) for n in range(240)))
    environment = {"IMPORT_FIRST": "limited", "LIMITS": f"{99 * 2**20} {3 * 2**20}"}
    command = ["encode", "builtin:tiny-text", "texts.txt", "--rows-per-part", "120"]
    asked = pair.run(tmp_path, *command, "--output", "asked", count=1)
    found = pair.run(tmp_path, *command, "--output", "found", "--batch-size", "auto", environment=environment)
    assert asked.codes == [0] and found.codes == [0, 0], found.err
    assert vectors(tmp_path / "found")[0] == vectors(tmp_path / "asked")[0]
    assert np.abs(vectors(tmp_path / "found")[1] - vectors(tmp_path / "asked")[1]).max() < 1e-5
    said = re.search(r"auto: (\d+) of the longest texts", found.err[0])
    limits = json.loads(pq.read_metadata(tmp_path / "found/part-00001.parquet").metadata[b"mmst_part"])["batch_limits"]
    assert said and int(said[1]) == limits["sized"]["inputs"] < 60  # the first alone has room for all of its share


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing/", "--output", "v"], "missing"),
        (["pages", "--output", "v", "--dim", "9999"], "--dim 9999"),
        (["pages", "--output", "v", "--precision", "int9"], "int9"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(pair, tmp_path, collection, arguments, said):
    done = encode(pair, tmp_path, *arguments)
    assert done.codes == [2, 2] or done.codes[0] == 2
    assert sum(err.count("error: ") for err in done.err) == 1 and said in "".join(done.err)
    assert done.seconds < 30 and not (tmp_path / "v").exists()


@pytest.mark.slow
def test_the_option_starts_them(tmp_path, collection):
    command = ["encode", "builtin:tiny-qwen3-vl", "pages", "--output", "v", "--num-processes", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "mmst_cli", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stdout.count('"count": 22') == 1, done.stderr


def test_ctrl_c_ends_them_and_what_is_whole_is_gone_on_with(pair, tmp_path, collection):
    command = ["pages", "--output", "v", "--rows-per-part", "2", "--batch-size", "1"]
    ended = encode(pair, tmp_path, *command, send=("Encoding 23 inputs", signal.SIGINT))
    assert 130 in ended.codes and set(ended.codes) <= {1, 130}, ended
    assert "Traceback" not in "".join(ended.err)
    assert encode(pair, tmp_path, *command, "--resume").codes[0] == 1  # of the one that can't be read
    assert len(vectors(tmp_path / "v")[0]) == 22
