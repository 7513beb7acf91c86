"""A folder of vectors as `mmst encode` writes it: which files are in it, and what they are called."""

from __future__ import annotations

from pathlib import Path

from mmst_cli.work import JOB, part_path

# With a line before them, as all that Arrow passes over in a folder that is opened as a whole.
RECORD, MANIFEST, ERRORS, RANGES = "_job.json", "_manifest.json", "_errors.jsonl", "_ranges.json"
BEFORE = (JOB, "manifest.json", "errors.jsonl", "ranges.json")  # as earlier versions called them
OURS = (RECORD, MANIFEST, ERRORS, RANGES, *BEFORE, "part-*.parquet", ".*.partial")


def vectors_path(output: Path, number: int) -> Path:
    """Return where part ``number`` stands."""
    return part_path(output, "part", number)
