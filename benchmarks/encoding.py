"""`mmst encode` and evaluation beside the library: whole commands, throughput once loaded, memory, the same vectors.

    python benchmarks/encoding.py [--only commands loaded texts evaluation memory ray] [--rounds 3]
        [--commands 100 600] [--loaded 2000] [--texts 100000] [--evaluation 1000] [--memory 200 2000] [--ray 100000]

Pages are JPEGs of 1700 x 2200 pixels that the tiny Qwen3-VL sees at up to 600 x 600. "The script" calls
``model.encode_document`` on their paths. Both sides run in processes of their own, in turns. ``ray`` is `--engine ray`
on this machine beside the command without it, both as whole commands.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psutil
from memory import BATCH, build_model, build_pages, first_rows, timed_encode
from reporting import report, row

MIB = 2**20
WATCHED = 0.25  # seconds between two looks at the memory of a process and its children


def encode_by_script(model: str, inputs: list[str], vectors: Path) -> float:
    """Encode with the library; return seconds, without loading the model."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(model, device="cpu")
    begun = time.perf_counter()
    found = loaded.encode_document(inputs, batch_size=BATCH)
    seconds = time.perf_counter() - begun
    np.save(vectors, found)
    return seconds


def encode(model: str, inputs: list[str], vectors: Path) -> float:
    """Encode with mmst; return seconds, without loading the model."""
    return timed_encode(model, inputs, vectors)


def evaluate_by_script(model: str, rows: Path) -> float:
    """Evaluate with the library at one dimension, pages by their paths; return seconds."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    loaded = SentenceTransformer(model, device="cpu")
    read = [json.loads(line) for line in rows.read_text().splitlines()]
    begun = time.perf_counter()
    InformationRetrievalEvaluator(
        {f"q{i}": entry["query"] for i, entry in enumerate(read)},
        {f"d{i}": str(rows.parent / entry["image"]) for i, entry in enumerate(read)},
        {f"q{i}": {f"d{i}"} for i in range(len(read))},
        batch_size=BATCH,
        write_csv=False,
    )(loaded)
    return time.perf_counter() - begun


def evaluate(model: str, rows: Path) -> float:
    """Evaluate with mmst at one dimension; return seconds."""
    from sentence_transformers import SentenceTransformer

    from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Modality, Role, Use
    from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
    from mmst_cli.model.image_planes import take_planes
    from mmst_cli.model.large_images import shrink_large_images
    from mmst_cli.retrieval.data_card import readers_of
    from mmst_cli.retrieval.retrieval_set import RowRetrieval
    from mmst_cli.rows.row_preparation import prepare_rows

    columns = {
        "query": ColumnConfig(role=Role.anchor),
        "image": ColumnConfig(role=Role.positive, modality=Modality.image),
    }
    loaded = SentenceTransformer(model, device="cpu")
    take_planes()  # as loading a model by mmst does
    begun = time.perf_counter()
    prepared = prepare_rows("eval", DatasetConfig(use=Use.eval, path=str(rows), columns=columns))
    shrink_large_images(loaded, readers_of(prepared))  # as preparing a model for its rows does
    MatryoshkaRetrievalEvaluator(RowRetrieval(prepared), name="pages", batch_size=BATCH)(loaded)
    return time.perf_counter() - begun


def run(*arguments: object) -> float:
    """Run one job in a process of its own, and return the seconds that it says its work took."""
    command = [sys.executable, __file__, "--job", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return float(done.stdout.splitlines()[-1])


def run_command(*arguments: object) -> float:
    """Run a whole command, and return its seconds."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def in_turns(rounds: int, ours, theirs) -> tuple[float, float, float]:
    """Return the medians of both, and of the ratio theirs / ours."""
    pairs = []
    for _ in range(rounds):
        pairs.append((ours(), theirs()))
        print(f"mmst {pairs[-1][0]:.2f} s, the library {pairs[-1][1]:.2f} s", flush=True)
    return (*map(statistics.median, zip(*pairs, strict=True)), statistics.median(b / a for a, b in pairs))


def difference(vectors: Path, saved: Path) -> float:
    """Return the largest difference of the vectors that mmst wrote from those of the script."""
    import pyarrow.parquet as pq

    ours = np.stack(pq.read_table(vectors)["embedding"].to_numpy())
    return float(np.abs(ours - np.load(saved)).max())


def measure_commands(count: int, rounds: int, work: Path, model: Path, drawn: Path) -> list[dict]:
    pages, vectors, saved = folder_of(count, work, drawn), work / f"vectors-{count}", work / f"vectors-{count}.npy"
    ours, theirs, ratio = in_turns(
        rounds,
        lambda: run_command("-m", "mmst_cli", "encode", model, pages, "--output", vectors, "--overwrite"),
        lambda: run_command(__file__, "--job", "encode_by_script", model, pages, saved),
    )
    measured = f"{ratio:.2f}x ({ours:.1f} s, the script {theirs:.1f} s)"
    far = difference(vectors, saved)
    return [
        row(f"`mmst encode` of {count:,} pages, whole command: speed beside the script", "1x", measured, ratio >= 1),
        row(f"vectors of {count:,} pages beside the script's", "1e-5", f"{far:.1e}", far <= 1e-5),
    ]


def once_loaded(rounds: int, model: Path, inputs: Path, work: Path) -> tuple[float, float, float]:
    """Encode by both, in turns; return what :func:`in_turns` does, of the seconds once the model is loaded."""
    return in_turns(
        rounds,
        lambda: run("encode", model, inputs, Path(tempfile.mkdtemp(dir=work)) / "vectors"),
        lambda: run("encode_by_script", model, inputs, work / "loaded.npy"),
    )


def measure_loaded(count: int, rounds: int, work: Path, model: Path, drawn: Path) -> list[dict]:
    pages = folder_of(count, work, drawn)
    ours, theirs, ratio = once_loaded(rounds, model, pages, work)
    measured = f"{ratio:.2f}x ({count / ours:.1f} and {count / theirs:.1f} pages a second)"
    return [row(f"{count:,} pages once the model is loaded: throughput", "1.6x", measured, ratio >= 1.6)]


def measure_texts(count: int, rounds: int, work: Path, _model: Path, _drawn: Path) -> list[dict]:
    from mmst_cli.builtin.tiny_text import build_tiny_text

    ours, theirs, ratio = once_loaded(rounds, build_tiny_text(), file_of_texts(count, work), work)
    measured = f"{ratio:.2f}x ({count / ours:,.0f} and {count / theirs:,.0f} a second)"
    return [row(f"{count:,} short texts once the model is loaded: throughput", "1x", measured, ratio >= 1)]


def measure_ray(count: int, rounds: int, work: Path, _model: Path, _drawn: Path) -> list[dict]:
    texts, (shared, alone) = file_of_texts(count, work), (work / "by-ray", work / "alone")
    command = ["-m", "mmst_cli", "encode", "builtin:tiny-text", texts, "--overwrite", "--output"]
    ours, theirs, ratio = in_turns(
        rounds, lambda: run_command(*command, shared, "--engine", "ray"), lambda: run_command(*command, alone)
    )
    what = f"`mmst encode --engine ray` of {count:,} short texts, whole command, beside the same without it: time"
    same = all(path.read_bytes() == (shared / path.name).read_bytes() for path in alone.glob("part-*.parquet"))
    return [
        row(what, "1.5x or less", f"{1 / ratio:.2f}x ({ours:.1f} and {theirs:.1f} s)", 1 / ratio <= 1.5),
        row("the same parts, byte by byte", "all", "all" if same else "others", same),
    ]


def file_of_texts(count: int, work: Path) -> Path:
    """Return a file of so many short texts."""
    texts = work / "texts.txt"
    texts.write_text("".join(f"page {number} has a red header, a bar chart and a stamp\n" for number in range(count)))
    return texts


def measure_evaluation(count: int, rounds: int, _work: Path, model: Path, drawn: Path) -> list[dict]:
    rows = first_rows(drawn, count)
    ours, theirs, ratio = in_turns(
        rounds, lambda: run("evaluate", model, rows), lambda: run("evaluate_by_script", model, rows)
    )
    measured = f"{ratio:.2f}x ({ours:.1f} s, the library's evaluator {theirs:.1f} s)"
    return [row(f"evaluating {count:,} pages at one dimension: speed", "1.5x", measured, ratio >= 1.5)]


def measure_memory(few: int, many: int, work: Path, model: Path, drawn: Path) -> list[dict]:
    peaks = []
    for count in (few, many):
        vectors = Path(tempfile.mkdtemp(dir=work)) / "vectors"
        command = ["-m", "mmst_cli", "encode", model, folder_of(count, work, drawn), "--output", vectors]
        peaks.append(peak_of([sys.executable, *map(str, command)]))
    measured = f"{peaks[1] / peaks[0]:.3f}x ({peaks[0] / MIB:,.0f} and {peaks[1] / MIB:,.0f} MiB)"
    what = f"peak memory of all processes of `mmst encode`, {many:,} pages beside {few:,}"
    return [row(what, "1.1x or less", measured, peaks[1] <= 1.1 * peaks[0])]


def peak_of(command: list[str]) -> int:
    """Return the peak of what a command and its children hold together, in bytes; what they share counts once."""
    started, ended, found = subprocess.Popen(command, stdout=subprocess.DEVNULL), Event(), [0]

    def watch() -> None:
        while not ended.wait(WATCHED):
            try:
                process = psutil.Process(started.pid)
                family = [process, *process.children(recursive=True)]
                found.append(sum(one.memory_full_info().pss for one in family))
            except psutil.Error:
                continue

    watcher = Thread(target=watch)
    watcher.start()
    code = started.wait()
    ended.set()
    watcher.join()
    if code:
        raise subprocess.CalledProcessError(code, command)
    return max(found)


def folder_of(count: int, work: Path, drawn: Path) -> Path:
    """Return a folder of the first pages."""
    folder = work / f"pages-{count}"
    if not folder.is_dir():
        folder.mkdir()
        for page in sorted(drawn.glob("*.jpg"))[:count]:
            (folder / page.name).symlink_to(page)
    return folder


MEASURES = ("commands", "loaded", "texts", "evaluation", "memory", "ray")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commands", type=int, nargs="+", default=[100, 600])
    parser.add_argument("--loaded", type=int, default=2000)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--ray", type=int, default=100_000)
    parser.add_argument("--evaluation", type=int, default=1000)
    parser.add_argument("--memory", type=int, nargs=2, default=[200, 2000])
    parser.add_argument("--job", nargs="+")
    options = parser.parse_args()
    if options.job:
        run_job(*options.job)
        return
    most = max(*options.commands, options.loaded, options.evaluation, *options.memory)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        places = Path(folder), build_model(), build_pages(most)
        for name in options.only:
            asked = getattr(options, name)
            if name == "commands":
                rows += [entry for count in asked for entry in measure_commands(count, options.rounds, *places)]
            elif name == "memory":
                rows += measure_memory(*asked, *places)
            else:
                rows += globals()[f"measure_{name}"](asked, options.rounds, *places)
    report("encoding", rows, vars(options))


def run_job(name: str, model: str, inputs: str, output: str = "") -> None:
    """Do one job and print its seconds."""
    if name == "encode":
        print(encode(model, [inputs], Path(output)))
    elif name == "encode_by_script":
        path = Path(inputs)
        given = path.read_text().splitlines() if path.is_file() else sorted(map(str, path.glob("*.jpg")))
        print(encode_by_script(model, given, Path(output)))
    else:
        print({"evaluate": evaluate, "evaluate_by_script": evaluate_by_script}[name](model, Path(inputs)))


if __name__ == "__main__":
    main()
