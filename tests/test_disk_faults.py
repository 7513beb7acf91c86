"""A disk that is full and a folder that can't be written: one sentence, and what was whole stays whole."""

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.errors import DataError, RunError, WorkError
from mmst_cli.output_claim import claimed
from mmst_cli.storage import disk_fault, replace_folder, told_of_disk, whole_file


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A disk of one megabyte; only root may mount one."""
    folder = tmp_path_factory.mktemp("small")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def write_text(path):
    path.write_text("a" * 2**22)


def write_tensors_with_torch(path):
    import torch

    torch.save({"a": torch.zeros(2**20)}, path)


def write_tensors(path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2**20)}, path)


def write_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(2**20))


def write_rows(path):
    pq.write_table(pa.table({"a": np.random.default_rng(0).random(2**20)}), path)


def write_arrow(path):
    with pa.ipc.new_file(str(path), pa.schema([("a", pa.float64())])) as file:
        file.write_table(pa.table({"a": np.zeros(2**20)}))


def write_image(path):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8)).save(path, "PNG")


def write_index(path):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatIP(64)
    index.add(np.zeros((2**14, 64), dtype=np.float32))
    faiss.write_index(index, str(path))


WRITERS = [
    write_index,
    write_text,
    write_tensors_with_torch,
    write_tensors,
    write_array,
    write_rows,
    write_arrow,
    write_image,
]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_is_named_whatever_writes(write, small_disk):
    target = small_disk / "file"
    target.write_text("whole")
    said = r"(is full|full disk).* MB free now\)\. Make room\.$"
    with (
        pytest.raises(WorkError, match=said) as caught,
        told_of_disk(Path("another place"), "Make room."),
        whole_file(target) as partial,
    ):
        write(partial)
    assert str(caught.value).startswith(str(small_disk))
    assert [path.name for path in small_disk.iterdir()] == ["file"]
    assert target.read_text() == "whole"


def test_a_claim_on_a_full_disk_leaves_no_lock(small_disk):
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(2**20))
    before = sorted(small_disk.iterdir())
    with pytest.raises(RunError, match="no space left"), claimed(small_disk / "run", "output_dir"):
        pass
    assert sorted(small_disk.iterdir()) == before
    (small_disk / "filler").unlink()


def test_a_place_with_room_is_not_called_full(tmp_path):
    said = disk_fault(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), tmp_path)
    assert (
        said == f"a disk is full; {tmp_path} has room: look at {tempfile.gettempdir()} (TMPDIR), and at inodes (df -i)"
    )


def test_an_error_about_something_else_passes(tmp_path):
    with pytest.raises(FileNotFoundError), told_of_disk(tmp_path):
        (tmp_path / "gone").read_text()
    with pytest.raises(DataError, match="row 3"), told_of_disk(tmp_path):
        raise DataError("row 3") from OSError(errno.EACCES, "Permission denied")
    assert disk_fault(ValueError("[x 28]")) is None


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EDQUOT, "quota"), (errno.EROFS, "can only be read"), (errno.EACCES, "permission denied")],
)
def test_the_file_and_the_reason_are_named(number, said):
    error = OSError(number, os.strerror(number), "/data/vectors")
    assert disk_fault(RuntimeError("b").with_traceback(None)) is None
    assert (disk_fault(error, Path("elsewhere")) or "").startswith(f"/data/vectors: {said}"[:14])
    assert said in (disk_fault(error) or "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_result_that_cannot_be_put_out():
    command = [sys.executable, "-m", "mmst_cli", "inspect-modalities", "builtin:tiny-text", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "put out: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_is_replaced_at_once(tmp_path):
    for content in ("old", "new"):
        replace_folder(tmp_path / "model", lambda folder, content=content: (folder / "a").write_text(content) and None)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "a").read_text() == "new"


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "builtin:tiny-text", "t.txt", "--output", "file/out"],
        ["train", "job.yaml", "output_dir=file/run"],
        ["train", "job.yaml", "output_dir=file/run", "--dry-run"],
        ["check", "job.yaml", "--output", "file/out"],
        ["check", "job.yaml", "--all", "--write-clean", "file/clean.parquet"],
        ["mine", "job.yaml", "--output", "file/mined.parquet"],
        ["eval", "builtin:tiny-text", "--config", "eval.yaml", "--output", "file/out"],
    ],
)
def test_an_output_below_a_file_is_noticed_before_anything_is_loaded(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("file", "t.txt"):
        Path(name).write_text("a text\n")
    Path("rows.jsonl").write_text('{"query": "a", "doc": "b"}\n' * 2)
    columns = "columns: {query: {role: anchor}, doc: {role: positive}}"
    job = f"""
model: {{name_or_path: "builtin:tiny-text"}}
datasets: {{rows: {{use: train, path: rows.jsonl, {columns}}}}}
loss: [{{type: MultipleNegativesRankingLoss}}]
training: {{max_steps: 1, use_cpu: true}}
"""
    Path("job.yaml").write_text(job)
    measured = "evaluators: {pairs: {type: MatryoshkaRetrievalEvaluator, dataset: rows}}\n"
    Path("eval.yaml").write_text(job.replace("use: train", "use: eval") + measured)
    before = sorted(Path().iterdir())
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert "file is a file" in done.stderr
    assert "model:" not in done.stderr
    assert sorted(Path().iterdir()) == before
