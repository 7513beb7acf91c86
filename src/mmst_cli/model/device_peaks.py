"""What devices compute in a second at most, by their data sheets: the only place that knows it."""

from __future__ import annotations

PEAKS = {
    "B200": (2250, 75),
    "H200": (989, 67),
    "H100 PCIe": (756, 51),
    "H100": (989, 67),
    "A100": (312, 19.5),
    "L40S": (362, 91.6),
    "L40": (181, 90.5),
    "L4": (121, 30.3),
    "A10G": (70, 35),
    "A10": (125, 31.2),
    "A40": (150, 37.4),
    "RTX 5090": (210, 104.8),
    "RTX 4090": (165, 82.6),
    "RTX 3090": (71, 35.6),
}
"""Part of a device's name to its dense peaks in 10^12 operations a second: under bfloat16 with float32 sums, and under
float32 without tensor cores, as the libraries compute unless they are told otherwise."""


def peaks_of(name: str) -> tuple[float, float] | None:
    """Return a device's operations a second at most under bfloat16 and under float32; None if they aren't known.

    Args:
        name: the device's, as its driver has it.
    """
    found = next((peaks for part, peaks in PEAKS.items() if part in name), None)
    return None if found is None else (1e12 * found[0], 1e12 * found[1])
