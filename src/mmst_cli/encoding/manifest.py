"""The manifest of a finished output: what the vectors are, for whoever reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmst_cli import __version__
from mmst_cli.encoding.encoder import Encoder
from mmst_cli.encoding.shards import PartRecord, describe_parts
from mmst_cli.storage import write_json
from mmst_cli.vectors.ranges import NORM_TOLERANCE, Ranges
from mmst_cli.vectors.vector_folder import MANIFEST, RANGES

PACKING = "ubinary: a bit a dimension, set where the value is above 0, eight to a uint8, the first one highest"


def write_manifest(
    output: Path, encoder: Encoder, records: list[PartRecord], ranges: tuple[Path, Ranges] | None
) -> None:
    """Write ``_manifest.json``.

    Args:
        output: the folder of the parts.
        encoder: what made them.
        records: one a part.
        ranges: for int8, what the vectors were made with, and the file it was in.
    """
    import sentence_transformers
    import torch
    import transformers

    job = encoder.job
    rows = sum(record.rows for record in records)
    is_unit = max((record.norm_error for record in records), default=0.0) <= NORM_TOLERANCE
    is_float = job.precision.startswith("float")
    manifest = {
        "model": job.model,
        "revision": job.revision,
        "commit": encoder.commit,
        "weights": job.weights or None,
        "similarity": encoder.model.similarity_fn_name,
        "dimension": encoder.dimension,
        "model_dimension": encoder.model_dimension,
        "normalised": is_unit if rows and is_float else None,
        "precision": job.precision,
        "mixed_precision": job.mixed_precision,
        "bytes_per_vector": encoder.format.bytes_per_vector,
        "packing": PACKING if job.precision == "binary" else None,
        "ranges": _describe_ranges(*ranges, job.ranges) if ranges else None,
        "prompt_name": job.prompt_name or ("document" if encoder.model.prompts.get("document") else None),
        "count": rows,
        "failed": sum(len(record.failed) for record in records),
        "parts": describe_parts(output, records),
        "versions": {
            "mmst": __version__,
            "sentence_transformers": sentence_transformers.__version__,
            "transformers": transformers.__version__,
            "torch": str(torch.__version__),
        },
    }
    write_json(output / MANIFEST, manifest)


def _describe_ranges(path: Path, ranges: Ranges, digest: str | None) -> dict[str, Any]:
    """Return where ranges come from; they themselves are in ``_ranges.json``, for queries of the same collection."""
    return {
        "file": RANGES,
        "origin": path.as_posix(),
        "digest": digest,
        "model": ranges.model,
        "vectors": ranges.vectors,
    }
