"""The devices that a plan can be made for without being there: their memory, and what they compute in a second."""

from __future__ import annotations

from dataclasses import dataclass

from mmst_cli.errors import ConfigError, did_you_mean
from mmst_cli.model.device_peaks import peaks_of

GIB = 2**30
TAKEN = 1.25 * GIB
"""Bytes that CUDA, its libraries and the pieces that fit nothing take of a GPU; a rule of thumb."""


@dataclass(frozen=True)
class Device:
    """A device by its data sheet."""

    name: str
    """As `--device` takes it."""
    label: str
    memory: float
    """Bytes."""
    half: float
    """Operations a second at most, under bfloat16."""
    full: float
    """Operations a second at most, under float32."""


def _device(name: str, label: str, gibibytes: float) -> Device:
    peaks = peaks_of(label)
    assert peaks is not None
    return Device(name, label, gibibytes * GIB, *peaks)


DEVICES = {
    device.name: device
    for device in (
        _device("h100-80", "H100", 80),
        _device("a100-80", "A100", 80),
        _device("l40s", "L40S", 44.5),  # of 48: the rest holds the sums that correct its errors
        _device("rtx-4090", "RTX 4090", 24),
        _device("rtx-3090-24", "RTX 3090", 24),
    )
}


def find_device(name: str) -> Device:
    """Return the device of a name.

    Raises:
        ConfigError: none is called so.
    """
    if (found := DEVICES.get(name.lower())) is None:
        raise ConfigError(
            f"--device {name}: no such device; there are {', '.join(DEVICES)}."
            f"{did_you_mean(name.lower(), DEVICES)} Left out, this machine is measured."
        )
    return found
