"""Whether the model waits for data: training on large pages by mmst and by the plain script.

    python benchmarks/feeding.py [--waits 10 30 100] [--pages 640] [--rounds 3] [--real]

Pages are JPEGs of 1700 x 2200 pixels that the tiny Qwen3-VL sees at up to 600 x 600. The model's work is replaced by a
wait of so many milliseconds a page that uses no processor, as an accelerator's work does not; so what is measured is
only whether it is fed. --real trains the tiny model itself instead. Prepared data are those of `prepare: true`, from
the second epoch on. Runs are made in turns, each in a process of its own; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from memory import build_model, build_pages, first_rows
from reporting import report, row

BATCH = 16
WITHIN, PREPARED_WAITING = 1.1, 0.05
FIRST_EPOCH, LATER_EPOCHS = 2.5, 5.0  # times as fast as the plain script
KINDS = ("script", "mmst", "prepared")


def stand_in(milliseconds: float) -> None:
    """Replace the work of models by a wait for each page."""
    import torch
    from sentence_transformers import SentenceTransformer

    from mmst_cli.model.raw_pixels import RawPixels

    def wait(self: Any, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        pages = len(features["image_grid_thw"]) if "image_grid_thw" in features else 0
        time.sleep(pages * milliseconds / 1000)
        vectors = torch.ones(len(features["input_ids"]), self.get_embedding_dimension()) * next(self.parameters()).sum()
        return {**features, "sentence_embedding": vectors}

    SentenceTransformer.forward = wait
    RawPixels.restore = lambda *_: None  # the accelerator normalises, which is part of its work
    os.nice = lambda _: 0  # beside an accelerator nothing has to give way to the model


def by_script(model: str, rows: str, count: int) -> dict[str, float]:
    """Train one epoch as the library's documentation shows it; return seconds, and those spent waiting for data."""
    from datasets import Dataset, Image
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    read = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    pages = [str(Path(rows).parent / entry["image"]) for entry in read]
    data = Dataset.from_dict({"query": [entry["query"] for entry in read], "image": pages})
    data = data.cast_column("image", Image())
    loaded = SentenceTransformer(model, device="cpu")
    waited = []

    class Trainer(SentenceTransformerTrainer):
        def get_batch_samples(self, *arguments, **keywords):
            begun = time.perf_counter()
            found = super().get_batch_samples(*arguments, **keywords)
            waited.append(time.perf_counter() - begun)
            return found

    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder,
            per_device_train_batch_size=BATCH,
            max_steps=count // BATCH,
            save_strategy="no",
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(loaded, arguments, train_dataset=data, loss=MultipleNegativesRankingLoss(loaded))
        begun = time.perf_counter()
        trainer.train()
    return {"seconds": time.perf_counter() - begun, "waiting": sum(waited)}


def by_mmst(model: str, rows: str, count: int, *, prepare: bool, workers: int | None) -> dict[str, float]:
    """Do the same by mmst."""
    from mmst_cli.config.schema import Config
    from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
    from mmst_cli.preparing.image_preparation import prepare_images
    from mmst_cli.runs import RunFolder
    from mmst_cli.terminal import Terminal
    from mmst_cli.training.training_job import TrainingJob

    config = Config.model_validate(
        {
            "model": {"name_or_path": model, "dtype": "float32"},
            "output_dir": tempfile.mkdtemp(),
            "datasets": {
                "pages": {
                    "use": "train",
                    "path": rows,
                    "prepare": prepare,
                    "columns": {
                        "query": {"role": "anchor", "modality": "text"},
                        "image": {"role": "positive", "modality": "image"},
                    },
                }
            },
            "loss": [{"type": "MultipleNegativesRankingLoss"}],
            "training": {
                "per_device_train_batch_size": BATCH,
                "max_steps": count // BATCH,
                "save_strategy": "no",
                "use_cpu": True,
                "report_to": "none",
                **({} if workers is None else {"dataloader_num_workers": workers}),
            },
        }
    )
    terminal = Terminal()
    prepared = prepare_evaluation(config, terminal, ["pages"])
    prepare_images(config, prepared.rows, prepared.model, terminal)
    job = TrainingJob(config, RunFolder(Path(config.output_dir)), prepared, terminal)
    job.rehearse()
    trainer = job.build_trainer(Path(config.output_dir), [])
    trainer.account.take()
    begun = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - begun
    return {
        "seconds": seconds,
        "waiting": trainer.account.take()["data"],
        "workers": trainer.args.dataloader_num_workers,
    }


def prepare_cost(model: str, rows: str, count: int) -> float:
    """Return the processor seconds that reading and preprocessing a page takes mmst, in one process."""
    import torch
    from sentence_transformers import SentenceTransformer

    from mmst_cli.config.schema import MediaConfig, Modality
    from mmst_cli.media.reading import Reader
    from mmst_cli.model.image_planes import take_planes

    torch.set_num_threads(1)
    take_planes()
    loaded = SentenceTransformer(model, device="cpu")
    reader = Reader(MediaConfig(), Path(rows).parent)
    names = [json.loads(line)["image"] for line in Path(rows).read_text().splitlines()[:count]]
    loaded.preprocess([reader.read(Modality.image, names[0])])
    begun = time.process_time()
    for name in names:
        loaded.preprocess([reader.read(Modality.image, name)])
    return (time.process_time() - begun) / len(names)


def run(kind: str, options: argparse.Namespace, wait: float | None, model: Path, rows: Path) -> dict[str, float]:
    """Run one kind in a process of its own."""
    command = [sys.executable, __file__, "--job", kind, str(model), str(rows), "--pages", str(options.pages)]
    command += [] if wait is None else ["--waits", str(wait)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: argparse.Namespace, wait: float | None, model: Path, rows: Path) -> dict[str, dict[str, float]]:
    """Return the medians of each kind's seconds and shares of waiting, from runs in turns."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind in KINDS:
            one = run(kind, options, wait, model, rows)
            found[kind].append({"seconds": one["seconds"], "share": one["waiting"] / one["seconds"]})
            print(f"wait {wait}: {kind}: {one}", flush=True)
    return {
        kind: {name: statistics.median(one[name] for one in runs) for name in ("seconds", "share")}
        for kind, runs in found.items()
    }


def rows_of_wait(options: argparse.Namespace, wait: float, cost: float, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of the table for a wait, in milliseconds, and what a page costs in processor seconds."""
    shares = ", ".join(f"{kind} {found[kind]['share']:.0%}" for kind in KINDS)
    pages = options.pages // BATCH * BATCH
    least = max(wait / 1000, cost / (os.cpu_count() or 1)) * pages
    ours, theirs = found["mmst"]["seconds"], found["script"]["seconds"]
    rows = [
        row(f"{wait:g} ms a page: share of the time waiting for data", "-", shares, None),
        row(
            f"{wait:g} ms a page: seconds beside the larger of the waits and the processors' work",
            f"{WITHIN}x or less",
            f"{ours / least:.2f}x ({ours:.1f} s; {least:.1f} s; the script {theirs:.1f} s)",
            ours / least <= WITHIN,
        ),
    ]
    if wait == 30:
        share = found["prepared"]["share"]
        rows.append(
            row("30 ms a page, prepared: waiting for data", "5% or less", f"{share:.1%}", share <= PREPARED_WAITING)
        )
    return rows


def rows_of_training(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of the table for real training."""
    script = found["script"]["seconds"]
    rows = []
    for kind, name, bar in (("mmst", "a first epoch", FIRST_EPOCH), ("prepared", "prepared data", LATER_EPOCHS)):
        ratio = script / found[kind]["seconds"]
        measured = f"{ratio:.2f}x ({found[kind]['seconds']:.1f} s, the script {script:.1f} s)"
        rows.append(row(f"training the tiny model, {name}: speed beside the script", f"{bar}x", measured, ratio >= bar))
    return rows


def main() -> None:
    """Measure and report, or do one job of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waits", type=float, nargs="+", default=[10, 30, 100])
    parser.add_argument("--pages", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real", action="store_true", help="train the tiny model instead of waiting")
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        kind, model, rows = options.job
        waits = "--waits" in sys.argv
        if waits:
            stand_in(options.waits[0])
        count = options.pages
        # Beside an accelerator all processors prepare; beside a model on the processors mmst chooses.
        workers = os.cpu_count() if waits else None
        if kind == "script":
            done = by_script(model, rows, count)
        else:
            done = by_mmst(model, rows, count, prepare=kind == "prepared", workers=workers)
        print(json.dumps(done))
        return
    model = build_model()
    rows = first_rows(build_pages(options.pages), options.pages)
    if options.real:
        found = measure(options, None, model, rows)
        report("feeding_real", rows_of_training(found), {"real": found})
        return
    cost = prepare_cost(str(model), str(rows), 64)
    details: dict[str, Any] = {"cost": cost}
    lines = [row("reading and preprocessing a page, one processor", "-", f"{1000 * cost:.1f} ms", None)]
    for wait in options.waits:
        details[str(wait)] = found = measure(options, wait, model, rows)
        lines += rows_of_wait(options, wait, cost, found)
    report("feeding", lines, details)


if __name__ == "__main__":
    main()
