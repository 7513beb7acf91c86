"""What a device would hold, counted on the CPU: every tensor that is made, for as long as it lives."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmst_cli.model.live_storages import LiveStorages


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that operations make, and their most at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._storages = LiveStorages()

    @property
    def live(self) -> int:
        """The bytes that live."""
        return self._storages.live

    @property
    def peak(self) -> int:
        """The most bytes that lived at a time."""
        return self._storages.peak

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what it made."""
        given = {_address(value) for value in tensors((args, kwargs))}
        result = function(*args, **(kwargs or {}))
        for value in tensors(result):
            if _address(value) not in given:
                self.add(value)
        return result

    def add(self, value: torch.Tensor) -> None:
        """Count a tensor's storage for as long as it lives."""
        if value.untyped_storage().nbytes():
            self._storages.add(value.untyped_storage())


def _address(value: torch.Tensor) -> int:
    return value.untyped_storage()._cdata


def tensors(value: Any) -> list[torch.Tensor]:
    """Return all tensors in a nested value."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
