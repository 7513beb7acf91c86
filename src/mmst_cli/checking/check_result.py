"""What came of a check, and the folder it is in: parts of the work while it goes on, then what was found."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmst_cli.checking.clean_rows import Cleaned
from mmst_cli.checking.findings import Finding
from mmst_cli.errors import RunError
from mmst_cli.storage import write_json
from mmst_cli.work import begin_job, own_entries, read_job

RESULT, PAGE = "check.json", "check.html"
WORK = ".work"
OURS = (RESULT, PAGE, WORK, ".*.partial")


@dataclass(frozen=True)
class CheckResult:
    """What was found."""

    output: Path
    """The folder with check.json and check.html."""
    findings: list[Finding]
    """In order of harm."""
    columns: dict[str, dict[str, dict[str, Any]]]
    """Dataset to column to what it holds."""
    failed: list[str]
    """Kinds that were found and count as a failure."""
    cleaned: Cleaned | None
    sample: int | None
    """Rows of a dataset that were examined; None for all."""
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        cleaned = self.cleaned and {
            "file": str(self.cleaned.path),
            "kept": self.cleaned.kept,
            "dropped": self.cleaned.dropped,
            "reasons": str(self.cleaned.reasons),
        }
        return {
            "sample": self.sample,
            "failed": self.failed,
            "findings": [finding.to_dict() for finding in self.findings],
            "datasets": self.columns,
            "cleaned": cleaned,
        }


def check_output(output: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that the folder is free, ours to replace, or to go on with.

    Raises:
        RunError: it isn't; nothing was changed.
    """
    names = {path.name for path in own_entries(output, OURS)}
    if resume and WORK not in names:
        raise RunError(f"--resume: {output} holds no check to go on with. Leave it out.")
    if not resume and not overwrite and names:
        what = "a check that was interrupted. Add --resume to go on, or" if WORK in names else "a check. Add"
        raise RunError(f"--output: {output} holds {what} --overwrite to replace it.")


def begin_output(output: Path, job: str, *, resume: bool) -> Path:
    """Return the folder for parts of the work, empty unless the same work is taken up again.

    Raises:
        RunError: what was begun was another check.
    """
    work = output / WORK
    if resume:
        begun = read_job(work)
        if begun is None:
            raise RunError(f"--resume: {output} says not what was begun. Add --overwrite to begin anew.")
        if begun.get("job") != job:
            raise RunError(
                f"--resume: {output} was begun with another config, sample or data. Repeat the command it was begun"
                " with, or add --overwrite to begin anew."
            )
        return work
    # What an earlier check found stays until what this one finds takes its place.
    begin_job(work, {"job": job}, [path for path in own_entries(output, OURS) if path.name not in (RESULT, PAGE)])
    return work


def finish_output(result: CheckResult) -> None:
    """Write what was found, and remove the parts of the work."""
    write_json(result.output / RESULT, result.to_dict())
    shutil.rmtree(result.output / WORK, ignore_errors=True)
