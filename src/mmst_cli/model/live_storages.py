"""The bytes of tensors that live, counted as they are made and dropped."""

from __future__ import annotations

import weakref

import torch


class LiveStorages:
    """Counts the bytes of storages for as long as they live, and the most of them at a time."""

    def __init__(self) -> None:
        self.live = self.peak = 0
        self._known: set[int] = set()

    def add(self, storage: torch.UntypedStorage) -> bool:
        """Count a storage, and say whether it wasn't counted yet."""
        if id(storage) in self._known:
            return False
        size = storage.nbytes()
        self._known.add(id(storage))
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, id(storage), size)
        return True

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size
