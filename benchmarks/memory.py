"""Peak memory over the number of pages: mmst's evaluation and encoding, and the library's beside them.

    python benchmarks/memory.py [--pages 200 2000]

Every figure is the peak resident memory of a process of its own, on JPEG pages of 1700 x 2200 pixels (11 MB
decoded) that the tiny Qwen3-VL sees at up to 600 x 600. The library holds all decoded pages at once, so it is
measured on fewer.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import report, row

from mmst_cli.storage import build_folder, cache_folder, digest

SIZE, QUALITY, DRAWN = (1700, 2200), 85, 32  # width and height in pixels, of JPEG, pages that are drawn
MAX_PIXELS = 600 * 600
BATCH, DIMS = 32, [128, 64, 32]
LIBRARY_PAGES = (200, 400)  # 2.2 and 4.5 GB of pixels
MIB = 2**20


def build_pages(count: int) -> Path:
    """Return a folder of ``count`` JPEG pages, all different, and a `rows-<n>.jsonl` of queries and pages."""
    return build_folder(
        cache_folder() / f"memory-pages-{digest(count, SIZE, QUALITY, DRAWN)}", lambda folder: _draw(folder, count)
    )


def _draw(folder: Path, count: int) -> None:
    from PIL import ImageDraw

    from mmst_cli.builtin.page_drawing import draw_page
    from mmst_cli.builtin.pages import PAGES, write_query

    rng = random.Random(0)
    looks = [PAGES.sample(rng) for _ in range(DRAWN)]
    drawn = [draw_page(look, noise, size=SIZE) for noise, look in enumerate(looks)]
    with (folder / "rows.jsonl").open("w") as rows:
        for number in range(count):
            page = drawn[number % DRAWN].copy()
            # Blocks of 16 pixels survive JPEG, so that no two pages decode to the same.
            for bit in range(16):
                shade = 255 * (number >> bit & 1)
                ImageDraw.Draw(page).rectangle((32 * bit, 2160, 32 * bit + 15, 2175), fill=(shade, shade, shade))
            page.save(folder / f"{number:05d}.jpg", quality=QUALITY)
            query = f"{write_query(looks[number % DRAWN], rng)} number {number}"
            rows.write(json.dumps({"query": query, "image": f"{number:05d}.jpg"}) + "\n")


def build_model() -> Path:
    """Return the tiny model with the pixel bound of a real one."""
    from sentence_transformers import SentenceTransformer

    from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl

    tiny = build_tiny_qwen3vl()

    def save(folder: Path) -> None:
        model = SentenceTransformer(str(tiny), device="cpu", processor_kwargs={"max_pixels": MAX_PIXELS})
        model.save_pretrained(str(folder), create_model_card=False)

    return build_folder(cache_folder() / f"memory-{tiny.name}-{MAX_PIXELS}", save)


def first_rows(pages: Path, count: int) -> Path:
    """Return a file of the first ``count`` rows; it lies beside the pages, as their paths are relative to it."""
    path = pages / f"rows-{count}.jsonl"
    lines = (pages / "rows.jsonl").read_text().splitlines()[:count]
    path.write_text("\n".join(lines) + "\n")
    return path


def evaluate(model: Path, rows: Path) -> float:
    """Evaluate with mmst; return seconds."""
    from sentence_transformers import SentenceTransformer

    from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Modality, Role, Use
    from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
    from mmst_cli.retrieval.retrieval_set import RowRetrieval
    from mmst_cli.rows.row_preparation import prepare_rows

    columns = {
        "query": ColumnConfig(role=Role.anchor),
        "image": ColumnConfig(role=Role.positive, modality=Modality.image),
    }
    prepared = prepare_rows("eval", DatasetConfig(use=Use.eval, path=str(rows), columns=columns))
    evaluator = MatryoshkaRetrievalEvaluator(
        RowRetrieval(prepared), DIMS, precisions=["float32", "int8", "binary"], name="pages", batch_size=BATCH
    )
    loaded = SentenceTransformer(str(model), device="cpu")
    begun = time.perf_counter()
    evaluator(loaded)
    return time.perf_counter() - begun


def encode(model: Path, rows: Path) -> float:
    """Encode with mmst; return seconds, without loading the model."""
    with tempfile.TemporaryDirectory() as folder:
        return timed_encode(str(model), [str(rows)], Path(folder) / "vectors", columns=["image:image"])


def timed_encode(model: str, inputs: list[str], vectors: Path, **options) -> float:
    """Encode with mmst, given options of `run_encode`; return the seconds of writing parts, once the model is there."""
    from mmst_cli.encoding import encoder
    from mmst_cli.encoding.encode import run_encode
    from mmst_cli.terminal import Terminal

    spent: list[float] = []
    write_parts = encoder.Encoder.write_parts

    def timed(*arguments, **options):
        begun = time.perf_counter()
        records = write_parts(*arguments, **options)
        spent.append(time.perf_counter() - begun)
        return records

    encoder.Encoder.write_parts = timed
    run_encode(model, inputs, vectors, batch_size=BATCH, terminal=Terminal(json_results=True), **options)
    return sum(spent)


def read_all(rows: Path):
    """Return queries and decoded pages, all of them, as the library's documentation does."""
    from PIL import Image

    read = [json.loads(line) for line in rows.read_text().splitlines()]
    return [entry["query"] for entry in read], [Image.open(rows.parent / entry["image"]) for entry in read]


def library_evaluate(model: Path, rows: Path) -> float:
    """Evaluate with the library at one dimension; return seconds."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    loaded = SentenceTransformer(str(model), device="cpu")
    begun = time.perf_counter()
    queries, pages = read_all(rows)
    evaluator = InformationRetrievalEvaluator(
        {f"q{i}": query for i, query in enumerate(queries)},
        {f"d{i}": page for i, page in enumerate(pages)},
        {f"q{i}": {f"d{i}"} for i in range(len(pages))},
        batch_size=BATCH,
        write_csv=False,
    )
    evaluator(loaded)
    return time.perf_counter() - begun


def library_encode(model: Path, rows: Path) -> float:
    """Encode with the library; return seconds."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(model), device="cpu")
    begun = time.perf_counter()
    loaded.encode(read_all(rows)[1], batch_size=BATCH)
    return time.perf_counter() - begun


JOBS = {job.__name__: job for job in (evaluate, encode, library_evaluate, library_encode)}


def peak_mib() -> float:
    """Return the peak resident memory of this process; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)


def run_job(name: str, count: int, most: int) -> dict[str, float]:
    """Run one job in a process of its own; return its peak in MiB and its seconds a page."""
    command = [sys.executable, __file__, "--job", name, "--pages", str(count), str(most)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}, {count:,} pages: {found['peak_mib']:,.0f} MiB, {found['seconds'] / count * 1000:.0f} ms a page")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, nargs=2, default=[200, 2000])
    parser.add_argument("--job", choices=[*JOBS, "prepare"])
    options = parser.parse_args()
    few, many = options.pages
    if options.job:
        pages, model = build_pages(many), build_model()
        seconds = JOBS[options.job](model, first_rows(pages, few)) if options.job != "prepare" else 0.0
        print(json.dumps({"peak_mib": peak_mib(), "seconds": seconds}))
        return
    run_job("prepare", few, many)
    counts = {"evaluate": (few, many), "encode": (few, many)}
    counts |= dict.fromkeys(
        ("library_evaluate", "library_encode"), tuple(n for n in LIBRARY_PAGES if n <= many) or (few,)
    )
    found = {name: {count: run_job(name, count, many) for count in counts[name]} for name in counts}
    compare(found, few, many)


def compare(found: dict[str, dict[int, dict[str, float]]], few: int, many: int) -> None:
    rows = []
    for name, what in (("evaluate", "mmst eval"), ("encode", "mmst encode")):
        small, large = (found[name][count]["peak_mib"] for count in (few, many))
        measured = f"{large / small:.3f}x ({small:,.0f} and {large:,.0f} MiB)"
        rows.append(row(f"peak memory, {what}: {many:,} pages beside {few:,}", "1.1x", measured, large <= 1.1 * small))
    for name, what in (("library_evaluate", "the library's evaluator"), ("library_encode", "model.encode")):
        peaks = {count: values["peak_mib"] for count, values in found[name].items()}
        measured = ", ".join(f"{peak:,.0f} MiB for {count:,} pages" for count, peak in peaks.items())
        rows.append(row(f"peak memory, {what}", "-", measured, None))
    ours = found["encode"][many]["seconds"] / many * 1000
    count, values = max(found["library_encode"].items())
    theirs = values["seconds"] / count * 1000
    rows.append(row("a page, mmst encode and model.encode", "-", f"{ours:.0f} and {theirs:.0f} ms", None))
    details = {name: {str(count): values for count, values in counts.items()} for name, counts in found.items()}
    report("memory", rows, details)


if __name__ == "__main__":
    main()
