"""Model FLOPs utilisation: which share of a device's peak the operations of the model itself come to.

The operations of the first batch's forward pass are counted by torch's own counter, and taken three times, for the
backward pass costs two forward passes (Chowdhery et al., PaLM, 2022, appendix B). What a cached loss or checkpointing
computes again is left out, as the measure has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PEAKS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10G": 70,
    "A10": 125,
    "A40": 150,
    "RTX 5090": 210,
    "RTX 4090": 165,
    "RTX 3090": 71,
}
"""Part of a device's name to its dense peak under bfloat16 with float32 sums, in 10^12 a second, by its data sheet."""


def peak_flops(device: torch.device) -> float | None:
    """Return a device's operations a second at most under bfloat16; None if it isn't known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for part, peak in PEAKS.items() if part in name), None)


class FlopMeter:
    """Counts the operations of the first batch.

    Args:
        peak: operations a second of the device at most; nothing is counted if None.
    """

    def __init__(self, peak: float | None) -> None:
        self.peak = peak
        self.flops: int | None = None
        """Of the forward pass of the first batch."""

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what runs in the context, unless something was counted before."""
        if self.peak is None or self.flops is not None:
            yield
            return
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            yield
        self.flops = int(counter.get_total_flops())

    def utilisation(self, batches_per_second: float) -> float | None:
        """Return the share of the peak at so many batches a second and device; None if it isn't known."""
        if self.peak is None or not self.flops:
            return None
        return 3 * self.flops * batches_per_second / self.peak
