"""What a device would hold, counted on the CPU: every tensor that is made, for as long as it lives."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that operations make, and their most at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

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
        storage = value.untyped_storage()
        if id(storage) in self._known or not storage.nbytes():
            return
        size = storage.nbytes()
        self._known.add(id(storage))
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, id(storage), size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def _address(value: torch.Tensor) -> int:
    return value.untyped_storage()._cdata


def tensors(value: Any) -> list[torch.Tensor]:
    """Return all tensors in a nested value."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
