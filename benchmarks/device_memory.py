"""Peak memory of the model's device in a step of a cached loss, by the size of the batch: mmst's way and the library's.

    python benchmarks/device_memory.py [--batches 64 512] [--side 600] [--mini-batch 16]

Counted on the CPU: every tensor that is made while the loss and its gradients are computed, for as long as it lives, as
a GPU would hold it, and for the library the batch itself, which its trainer copies there. Batches are made of sixteen
pages, repeated; the rows of a batch being alike changes no size. The losses have to be bitwise the same.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping
from typing import Any

import torch
from live_bytes import LiveBytes, tensors
from reporting import report, row
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MatryoshkaLoss

from mmst_cli.builtin.page_drawing import draw_page
from mmst_cli.builtin.pages import PAGES, write_query
from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.load_model import load_model
from mmst_cli.model.preprocessor import Preprocessor
from mmst_cli.model.raw_pixels import raw_pixels_of
from mmst_cli.training.host_batches import DueInputs, left_on_host
from mmst_cli.training.time_account import TimeAccount

CPU = torch.device("cpu")
DISTINCT = 16
WITHIN = 1.1
Batch = dict[str, Any]


def repeated(features: Mapping[str, Any], times: int) -> Batch:
    """Return features of as many inputs one after the other."""
    return {
        name: torch.cat([value] * times) if isinstance(value, torch.Tensor) else value
        for name, value in features.items()
    }


def columns_of(batch: Batch) -> list[Batch]:
    """Return the features of each column, as a trainer hands them to the loss."""
    return [
        {name.partition("_")[2]: value for name, value in batch.items() if name.startswith(column)}
        for column in ("query_", "page_")
    ]


def step(model: SentenceTransformer, batch: Batch, mini_batch: int, ours: bool) -> tuple[float, float, int]:
    """Return the loss of a step, its seconds and the most bytes that lived on the device."""
    loss = MatryoshkaLoss(model, CachedMultipleNegativesRankingLoss(model, mini_batch_size=mini_batch), [128, 32, 8])
    model._forward_pre_hooks.clear()
    counted = LiveBytes()
    if ours:
        due = DueInputs(CPU, raw_pixels_of(model), TimeAccount(CPU))
        # Here copying copies nothing; what a GPU would get counts all the same.
        due._moved = lambda features: {name: _copy(value) for name, value in features.items()}  # type: ignore[method-assign]
        due.watch(loss)
        batch = left_on_host(batch, ["query", "page"], CPU)
    else:
        for value in tensors(batch):
            counted.add(value)
    begun = time.perf_counter()
    with counted:
        value = loss(columns_of(batch), None)
        value.backward()
    seconds = time.perf_counter() - begun
    model.zero_grad()
    return float(value.detach()), seconds, counted.peak


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--side", type=int, default=600)
    parser.add_argument("--mini-batch", type=int, default=16)
    parser.add_argument("--without-library", action="store_true", help="measure mmst alone")
    arguments = parser.parse_args()
    told = ModelConfig.model_validate(
        {"name_or_path": "builtin:tiny-qwen3-vl", "processor": {"max_pixels": arguments.side**2}}
    )
    model = load_model(told, CPU)[0].train()
    rng = random.Random(0)
    pages = [PAGES.sample(rng) for _ in range(DISTINCT)]
    side = (arguments.side, arguments.side)
    inputs = {
        "query": [write_query(page, rng) for page in pages],
        "page": [draw_page(page, index).resize(side) for index, page in enumerate(pages)],
    }
    peaks: dict[bool, list[int]] = {True: [], False: []}
    rows = []
    for size in arguments.batches:
        losses = {}
        for ours in (True,) if arguments.without_library else (True, False):
            preprocess = Preprocessor(model, raw_pixels_of(model) if ours else None)
            batch = {
                f"{column}_{name}": value
                for column, values in inputs.items()
                for name, value in repeated(preprocess(values), size // DISTINCT).items()
            }
            held = sum(value.nbytes for value in tensors(batch))
            losses[ours], seconds, peak = step(model, batch, arguments.mini_batch, ours)
            peaks[ours].append(peak)
            print(
                f"batch {size}, {'mmst' if ours else 'library'}: loss {losses[ours]:.6f}, {seconds:.0f} s,"
                f" device {peak / 2**20:.0f} MiB, batch {held / 2**20:.0f} MiB",
                flush=True,
            )
            del batch
        if not arguments.without_library:
            rows.append(
                row(
                    f"batch {size}: the same loss",
                    "bitwise",
                    str(losses[True] == losses[False]),
                    losses[True] == losses[False],
                )
            )
    for ours, name in ((True, "mmst"), (False, "the library")):
        for size, peak in zip(arguments.batches[1:], peaks[ours][1:], strict=False):
            ratio = peak / peaks[ours][0]
            rows.append(
                row(
                    f"{name}: device peak of batch {size} beside batch {arguments.batches[0]}",
                    f"{WITHIN}x or less" if ours else "-",
                    f"{ratio:.2f}x ({peak / 2**20:.0f} and {peaks[ours][0] / 2**20:.0f} MiB)",
                    ratio <= WITHIN if ours else None,
                )
            )
    report("device_memory", rows, {"peaks": {"mmst": peaks[True], "library": peaks[False]}})


if __name__ == "__main__":
    main()
