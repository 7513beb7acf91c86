"""Model FLOPs utilisation: which share of a device's peak the operations of the model itself come to.

The operations of the first batch's forward pass are counted by torch's own counter, and taken three times, for the
backward pass costs two forward passes (Chowdhery et al., PaLM, 2022, appendix B). What a cached loss or checkpointing
computes again is left out, as the measure has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmst_cli.model.device_peaks import peaks_of


def peak_flops(device: torch.device) -> float | None:
    """Return a device's operations a second at most under bfloat16; None if it isn't known."""
    if device.type != "cuda":
        return None
    peaks = peaks_of(torch.cuda.get_device_name(device))
    return None if peaks is None else peaks[0]


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
