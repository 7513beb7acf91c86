"""`mmst check` on planted faults, beside a loop that only decodes, and what cleaning gives back.

    python benchmarks/checking.py [--parts faults speed training] [--rows 5000] [--pages 500 5000]

- faults: 200 of 5,000 rows are spoilt in ten ways (`planted.py`); how many are found, and what else is.
- speed: `--all` on JPEG pages of 1700 x 2200 pixels, beside as many processes that only decode the same files; the
  peak memory of its largest process on 500 pages and on 5,000.
- training: a model trained on the rows that `--write-clean` left, beside one trained on the same rows without any
  planted ones.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from planted import EXACT, KINDS, plant, write_config
from reporting import report, row

from mmst_cli.storage import build_folder, cache_folder, digest

SIZE, QUALITY = (1700, 2200), 85  # width and height in pixels, of JPEG


def check(config: Path, output: Path, *options: str) -> tuple[dict[str, Any], float, float]:
    """Run `mmst check --all` and return what it found, its seconds, and its peak memory in MiB."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "mmst_cli", "check", str(config), "--all", "--output", str(output), "--json"]
    code = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(json.loads(sys.argv[1]), stdout=subprocess.PIPE, stderr=sys.stderr)\n"
        "print(json.dumps({'peak': resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 'rc': done.returncode,"
        " 'out': done.stdout.decode()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([*command, *options])], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - begun
    outcome = json.loads(done.stdout)
    if outcome["rc"] not in (0, 1):
        raise SystemExit(f"mmst check ended with {outcome['rc']}")
    return json.loads(outcome["out"]), seconds, outcome["peak"] / 1024


def measure_faults(folder: Path, rows: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Count the planted rows that are found for the right reason, and the rows that are dropped without cause."""
    planted = plant(folder, rows)
    config = write_config(folder)
    _, seconds, _ = check(config, folder / "check", "--write-clean", str(folder / "clean.parquet"))
    dropped = {line["row"]: line for line in map(json.loads, (folder / "clean.dropped.jsonl").open())}
    right = Counter(kind for place, kind in planted.items() if dropped.get(place, {}).get("kind") == KINDS[kind])
    missed = {place: kind for place, kind in planted.items() if place not in dropped}
    false = sorted(dropped.keys() - planted.keys())
    each = Counter(planted.values())
    lines = [
        row(
            f"found: {kind}",
            "100%" if kind in EXACT else "95%",
            f"{right[kind]} of {each[kind]}",
            right[kind] >= each[kind] * (1 if kind in EXACT else 0.95),
        )
        for kind in KINDS
    ]
    share = len(false) / (rows - len(planted))
    lines.append(row("rows dropped that are whole", "1% or less", f"{len(false)} ({share:.2%})", share <= 0.01))
    lines.append(row(f"`mmst check --all` on {rows:,} rows of 96x128 pages", "-", f"{seconds:.1f} s", None))
    return lines, {"missed": missed, "false": {place: dropped[place] for place in false}, "seconds": seconds}


def build_pages(count: int) -> Path:
    """Return a folder of ``count`` different JPEG pages with a config of a job on them."""
    name = digest(count, SIZE, QUALITY, Path(__file__).read_text(encoding="utf-8").partition("def _draw")[2][:900])
    return build_folder(cache_folder() / f"check-pages-{name}", lambda folder: _draw(folder, count))


def _draw(folder: Path, count: int) -> None:
    from mmst_cli.builtin.pages import PAGES, write_query

    rng = random.Random(0)
    looks = [PAGES.sample(rng) for _ in range(count)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_draw_page, [folder] * count, range(count), looks, chunksize=16))
    rows = [{"query": write_query(look, rng), "image": f"{number:05d}.jpg"} for number, look in enumerate(looks)]
    for name, some in {"train": rows[:-10], "eval": rows[-10:]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in some))


def _draw_page(folder: Path, number: int, look: Any) -> None:
    from mmst_cli.builtin.page_drawing import draw_page

    draw_page(look, number, size=SIZE).save(folder / f"{number:05d}.jpg", quality=QUALITY)


def _config_of(pages: Path, folder: Path) -> Path:
    """Write a config for pages without negatives."""
    config = json.loads(write_config(folder).read_text())
    for name, section in config["datasets"].items():
        section["path"] = str(pages / f"{name}.jsonl")
        section["columns"].pop("negative", None)
    path = folder / "pages.yaml"
    path.write_text(json.dumps(config))
    return path


def _decode(path: Path) -> None:
    from mmst_cli.media.image import read_image

    read_image(path)


def decode_all(pages: Path, processes: int) -> float:
    """Return the seconds that decoding every page takes in so many processes that do nothing else."""
    begun = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_decode, sorted(pages.glob("*.jpg")), chunksize=16))
    return time.perf_counter() - begun


def measure_speed(folder: Path, counts: list[int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Time a check of all pages beside decoding them, and compare the memory of few pages and many."""
    from mmst_cli.processes import processors

    measured = {}
    for count in counts:
        pages = build_pages(count)
        config = _config_of(pages, folder)
        decoding = decode_all(pages, processors())
        _, seconds, peak = check(config, folder / f"check-{count}")
        measured[count] = {
            "decoding": decoding,
            "seconds": seconds,
            "peak_mib": peak,
            "again": decode_all(pages, processors()),
        }
    most, least = measured[max(counts)], measured[min(counts)]
    decoding = (most["decoding"] + most["again"]) / 2
    ratio, memory = most["seconds"] / decoding, most["peak_mib"] / least["peak_mib"]
    many, few = f"{max(counts):,}", f"{min(counts):,}"
    lines = [
        row(
            f"`mmst check --all` on {many} pages beside decoding them on {processors()} cores, start included",
            "1.3x or less",
            f"{ratio:.2f}x ({most['seconds']:.0f} s; decoding {decoding:.0f} s)",
            ratio <= 1.3,
        ),
        row(
            f"peak memory, {many} pages beside {few}",
            "1.1x or less",
            f"{memory:.3f}x ({most['peak_mib']:,.0f} and {least['peak_mib']:,.0f} MiB)",
            memory <= 1.1,
        ),
    ]
    return lines, {"pages": measured}


def measure_training(folder: Path, rows: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Train on cleaned rows, and on the same rows without the planted ones, and compare query by query."""
    from mmst_cli.evaluation.comparison import compare_evaluations
    from mmst_cli.evaluation.evaluation_results import load_evaluation

    planted = plant(folder, rows) if not (folder / "train.jsonl").exists() else _planted_again(rows)
    config = write_config(folder)
    if not (folder / "clean.parquet").exists():
        check(config, folder / "check", "--write-clean", str(folder / "clean.parquet"))
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "whole.jsonl").write_text("".join(line for i, line in enumerate(lines) if i not in planted))
    found = {}
    for name, path in {"cleaned": "clean.parquet", "whole": "whole.jsonl"}.items():
        run = folder / name
        overrides = [f"datasets.train.path={folder / path}", f"output_dir={run}"]
        subprocess.run([sys.executable, "-m", "mmst_cli", "train", str(config), "--overwrite", *overrides], check=True)
        found[name] = load_evaluation(run / "eval" / "pages.json")
    compared = compare_evaluations(found["cleaned"], found["whole"], "cleaned", "whole").cells[0]
    low, high = compared.interval
    kept = len(lines) - len((folder / "clean.dropped.jsonl").read_text().splitlines())
    measured = f"{compared.a:.4f} and {compared.b:.4f} (95% interval of the difference {low:+.4f} to {high:+.4f})"
    text = f"NDCG@10 trained on {kept:,} cleaned rows, and on the {len(lines) - len(planted):,} that were never spoilt"
    return [row(text, "no difference shown", measured, low <= 0 <= high)], {"a": compared.a, "b": compared.b}


def _planted_again(rows: int) -> dict[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        return plant(Path(folder), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["faults", "speed", "training"])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--pages", type=int, nargs=2, default=[500, 5000])
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measures = {
            "faults": lambda: measure_faults(folder / "planted", options.rows),
            "speed": lambda: measure_speed(folder, options.pages),
            "training": lambda: measure_training(folder / "planted", options.rows),
        }
        for part in options.parts:
            (folder / "planted").mkdir(exist_ok=True)
            some, details[part] = measures[part]()
            lines += some
    report("checking", lines, details)


if __name__ == "__main__":
    main()
