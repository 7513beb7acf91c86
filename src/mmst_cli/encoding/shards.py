"""The output folder of `mmst encode`: parquet parts of bounded size, the record of the job, and a manifest.

A part covers a fixed number of consecutive inputs, whether they could be read or not, and says so itself.
That makes a resumed output equal to an undisturbed one, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmst_cli.aside import drop_aside, finish_moving, is_aside, put_back, set_aside
from mmst_cli.errors import DataError, RunError
from mmst_cli.inputs.items import Item
from mmst_cli.storage import append_line, digest_of_file, whole_file
from mmst_cli.vectors.quantise import VectorFormat
from mmst_cli.vectors.vector_folder import ERRORS, OURS, RECORD, vectors_path
from mmst_cli.work import begin_job, check_same_job, own_entries, parquet_metadata, read_job

if TYPE_CHECKING:
    import torch

GROUP_BYTES = 32 * 2**20  # vectors held before they are written as one row group
RECORD_KEY = "mmst_part"


@dataclass
class PartRecord:
    """What a part says about itself in its parquet metadata."""

    items: int = 0
    """Inputs it covers, read or not."""
    rows: int = 0
    """Vectors in it."""
    ids_sha256: str = ""
    """Names the inputs it covers, in order."""
    contents_sha256: str = ""
    """Tells their content apart; empty in parts that were made before this was noted."""
    norm_error: float = 0.0
    """Largest distance of a vector's length from 1."""
    failed: list[dict[str, str]] = field(default_factory=list)
    """Inputs that couldn't be encoded, with `id` and `error`."""
    batch_limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was found of batch sizes when it was whole, so that a resumed job goes on with it."""


def begun_with(output: Path) -> dict[str, Any] | None:
    """Return the record of the job that an output folder is of; None where there is none that can be read."""
    return read_job(output, RECORD) or read_job(output)


def check_output(output: Path, job: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Check that the output folder is free, ours to replace, or of the same job.

    Raises:
        RunError: it isn't; nothing was changed.
    """
    if not own_entries(output, OURS):
        return
    if resume:
        check_same_job(output, begun_with(output), job)
    elif not overwrite:
        raise RunError(f"--output: {output} holds vectors. Add --resume to go on, or --overwrite to replace them.")


def begin_output(output: Path, job: dict[str, Any], kept: list[PartRecord], *, overwrite: bool = False) -> None:
    """Clear what is not kept, write the record of the job, and list the failures of the kept parts again.

    What is to be overwritten is set aside, for :func:`bring_back` or until a part of the new is whole.
    """
    keep = {vectors_path(output, number) for number in range(len(kept))}
    stale = own_entries(output, OURS)
    if overwrite and stale:
        set_aside(output, stale)
        stale = []
    begin_job(output, job, stale, keep, RECORD)
    for record in kept:
        for failure in record.failed:
            append_line(output / ERRORS, failure)


def bring_back(output: Path) -> bool:
    """Bring back what was set aside, unless a part of the new is whole, and say whether it was."""
    finish_moving(output)
    if not is_aside(output):
        return False
    if vectors_path(output, 0).is_file():
        drop_aside(output)
        return False
    for path in {path for pattern in OURS for path in output.glob(pattern)}:
        path.unlink()
    put_back(output, ())
    return True


def whole_parts(output: Path) -> Iterator[PartRecord]:
    """Yield the records of the parts that are there, up to the first that is missing or unreadable."""
    number = 0
    while True:
        try:
            metadata = parquet_metadata(vectors_path(output, number)) or {}
            yield PartRecord(**json.loads(metadata[RECORD_KEY.encode()]))
        except (KeyError, ValueError, TypeError):
            return
        number += 1


class PartWriter:
    """Collects one part; its rows go to disk group by group."""

    def __init__(self, file: pq.ParquetWriter, output: Path, form: VectorFormat) -> None:
        self._file, self._errors, self._form = file, output / ERRORS, form
        self._ids: list[str] = []
        self._vectors: list[np.ndarray] = []
        self._digest, self._contents = hashlib.sha256(), hashlib.sha256()
        self.record = PartRecord()

    def cover(self, item: Item, content: bytes | None = None) -> None:
        """Count an input, whether it could be read or not, with what :func:`content_bytes` returned where it was."""
        self.record.items += 1
        self._digest.update(id_bytes(item.id))
        self._contents.update(content_bytes(item) if content is None else content)

    def fail(self, item_id: str, error: str) -> None:
        """Note that an input couldn't be encoded."""
        failure = {"id": item_id, "error": error}
        self.record.failed.append(failure)
        append_line(self._errors, failure)

    def add(self, ids: list[str], vectors: torch.Tensor) -> None:
        """Add float32 vectors of shape (ids, dimension)."""
        if not ids:
            return
        self.record.rows += len(ids)
        norm_error = float((vectors.double().norm(dim=1) - 1).abs().max())
        self.record.norm_error = max(self.record.norm_error, norm_error)
        self._ids += ids
        self._vectors.append(self._form.store(vectors))
        if len(self._ids) * self._form.bytes_per_vector >= GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        if not self._ids:
            return
        flat = pa.array(np.concatenate(self._vectors).ravel())
        embedding = pa.FixedSizeListArray.from_arrays(flat, self._form.values)
        self._file.write_table(pa.table([pa.array(self._ids, pa.string()), embedding], schema=self._file.schema))
        self._ids, self._vectors = [], []

    def finish(self) -> None:
        """Write what is left, and the record."""
        self._write_group()
        self.record.ids_sha256 = self._digest.hexdigest()
        self.record.contents_sha256 = self._contents.hexdigest()
        self._file.add_key_value_metadata({RECORD_KEY: json.dumps(asdict(self.record))})


@contextmanager
def open_part(output: Path, number: int, form: VectorFormat) -> Iterator[PartWriter]:
    """Open a part; it takes its name once it is whole, and leaves nothing if it doesn't get there."""
    embedding = pa.list_(pa.from_numpy_dtype(form.value_type), form.values)
    schema = pa.schema([("id", pa.string()), ("embedding", embedding)])
    # Vectors don't compress, and a dictionary of them only costs.
    uncompressed = {"compression": "none", "use_dictionary": False}
    with whole_file(vectors_path(output, number)) as partial, pq.ParquetWriter(partial, schema, **uncompressed) as file:
        writer = PartWriter(file, output, form)
        yield writer
        writer.finish()


def id_bytes(item_id: str) -> bytes:
    """Return what an input adds to the digest that names the inputs of a part."""
    return item_id.encode() + b"\0"


def content_bytes(item: Item) -> bytes:
    """Return what an input adds to the digest that tells the content of a part's inputs apart."""
    try:
        stamp = item.stamp()
    except Exception:  # it can't be read, which is its failure
        stamp = b"unreadable"
    return len(stamp).to_bytes(8, "little") + stamp


def holds_same_inputs(record: PartRecord, number: int, items: Iterator[Item]) -> bool:
    """Say whether the content of the next inputs is still that from which a part was made.

    Raises:
        DataError: files or rows were added, removed or renamed since.
    """
    digest, contents, count = hashlib.sha256(), hashlib.sha256(), 0
    for item in items:
        digest.update(id_bytes(item.id))
        if record.contents_sha256:
            contents.update(content_bytes(item))
        count += 1
    if (count, digest.hexdigest()) != (record.items, record.ids_sha256):
        raise DataError(
            f"--resume: the inputs are no longer those of {vectors_path(Path(), number)}: files or rows "
            "were added, removed or renamed since. Add --overwrite to begin anew, or name another folder."
        )
    return record.contents_sha256 in ("", contents.hexdigest())


def describe_parts(output: Path, records: list[PartRecord]) -> list[dict[str, Any]]:
    """Return file, rows, inputs and checksum of each part, for the manifest."""
    paths = [vectors_path(output, number) for number in range(len(records))]
    return [
        {"file": path.name, "rows": record.rows, "items": record.items, "sha256": digest_of_file(path)}
        for path, record in zip(paths, records, strict=True)
    ]
