"""Training arguments of a process that uses one device, and a word on those that are idle."""

from __future__ import annotations

import torch
from sentence_transformers import SentenceTransformerTrainingArguments

from mmst_cli import processes


class OneDeviceArguments(SentenceTransformerTrainingArguments):  # type: ignore[misc]
    """Arguments of a trainer that uses one device, however many there are.

    The trainer's own way with several is `nn.DataParallel`, which cuts a batch's tensors along their first dimension:
    patches of images go without the grid that says which image they are of, and batches grow without a word.
    """

    @property
    def n_gpu(self) -> int:
        """How many GPUs this process uses: one, or none on a CPU."""
        return min(1, int(super().n_gpu))


def idle_devices(device: torch.device) -> str | None:
    """Return a sentence about the GPUs that no process of this command uses; None where there are none.

    Args:
        device: what this process uses.
    """
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if count < 2 or processes.count() > 1:
        return None
    return (
        f"{count} GPUs are here, and a process uses one of them: the others are idle."
        f" `mmst train CONFIG --num-processes {count}` trains on all of them."
    )
