"""What came of a check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmst_cli.checking.clean import Cleaned
from mmst_cli.checking.findings import Finding

RESULT, PAGE = "check.json", "check.html"


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
    """Rows of a dataset that were looked at; None for all."""
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
