"""Peak memory over the number of pages of one PDF document.

    python benchmarks/documents.py [--pages 30 64 300]

Every figure is the peak resident memory of an `mmst encode` in a process of its own. The pages are of A4, with text and
shapes as reports have them, and are drawn at 150 dots per inch (1240 x 1754 pixels, 6.5 MB decoded) for the tiny
Qwen3-VL, which sees them at up to 600 x 600. A document held whole would take 2 GB at 300 pages.

30 pages are less than one batch and 64 are two. What is added between them, once, is memory of the first batch that the
allocator keeps: with MALLOC_MMAP_THRESHOLD_=1048576 in the environment, glibc gives it back.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory import BATCH, build_model, peak_mib
from reporting import report, row

from mmst_cli.storage import build_folder, cache_folder, digest

PAGES = (30, 64, 300)
WIDTH, HEIGHT = 595, 842  # points, of A4
DPI = 150
LINES, WORDS, SHAPES = 48, 11, 40  # of a page; words of a line
SYLLABLES = ("ba", "do", "fe", "gi", "ku", "la", "mo", "ne", "pi", "ro", "su", "ta", "ve", "wi")
VERSION = 1  # of what is drawn


def build_document(pages: int) -> Path:
    """Return a PDF file of so many pages, all different."""
    folder = build_folder(
        cache_folder() / f"document-{digest(pages, LINES, WORDS, SHAPES, VERSION)}",
        lambda folder: _write(folder / "report.pdf", pages),
    )
    return folder / "report.pdf"


def _write(path: Path, pages: int) -> None:
    """Write the file object by object, as PDF is a text format and nothing that mmst needs writes it."""
    rng = random.Random(0)
    kids = " ".join(f"{4 + 2 * page} 0 R" for page in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {pages}/Kids[{kids}]>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for page in range(pages):
        content = _draw(page, rng).encode()
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {WIDTH} {HEIGHT}]/Contents {5 + 2 * page} 0 R"
            "/Resources<</Font<</F 3 0 R>>>>>>".encode()
        )
        objects.append(b"<</Length %d>>stream\n%b\nendstream" % (len(content), content))
    with path.open("wb") as file:
        file.write(b"%PDF-1.4\n")
        places = []
        for number, content in enumerate(objects, start=1):
            places.append(file.tell())
            file.write(b"%d 0 obj\n%b\nendobj\n" % (number, content))
        table = file.tell()
        entries = "".join(f"{place:010d} 00000 n \n" for place in places)
        file.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{entries}".encode())
        file.write(f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF\n".encode())


def _draw(page: int, rng: random.Random) -> str:
    """Return the operators of a page: coloured shapes, then a heading and lines of text over them."""
    drawn = []
    for _ in range(SHAPES):
        colour = " ".join(f"{0.5 + rng.random() / 2:.2f}" for _ in range(3))
        left, low = rng.randrange(40, WIDTH - 160), rng.randrange(40, HEIGHT - 160)
        wide, high = rng.randrange(20, 120), rng.randrange(20, 120)
        drawn.append(f"{colour} rg {left} {low} m {left + wide} {low} l {left} {low + high} {left + wide} {low} ")
        drawn.append(f"{left + wide} {low + high} c f")
    drawn.append(f"0 g BT /F 20 Tf 50 {HEIGHT - 60} Td (Page {page + 1}) Tj /F 10 Tf 14 TL")
    for _ in range(LINES):
        words = ("".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(WORDS))
        drawn.append(f"T* ({' '.join(words)}) Tj")
    return "\n".join([*drawn, "ET"])


def encode(model: Path, document: Path, pages: int) -> float:
    """Encode the document; return seconds, the model's loading included."""
    from mmst_cli.encoding.encode import run_encode
    from mmst_cli.terminal import Terminal

    with tempfile.TemporaryDirectory() as folder:
        result = run_encode(
            *(str(model), [str(document)], Path(folder) / "vectors"),
            batch_size=BATCH,
            media={"dpi": DPI},
            terminal=Terminal(json_results=True),
        )
    if (result.count, result.failed) != (pages, 0):
        sys.exit(f"{result.count} of {pages} pages were encoded")
    return result.seconds


def run_job(pages: int) -> dict[str, float]:
    """Encode so many pages in a process of its own; return its peak in MiB and its seconds."""
    command = [sys.executable, __file__, "--job", str(pages)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{pages:,} pages: {found['peak_mib']:,.0f} MiB, {found['seconds']:.1f} s")
    return found


def draw_time(pages: int) -> float:
    """Return the seconds that drawing a page takes."""
    from mmst_cli.media.pdf import render_page

    document = build_document(pages)
    begun = time.perf_counter()
    for number in range(1, pages + 1):
        render_page(document, number, DPI)
    return (time.perf_counter() - begun) / pages


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, nargs=3, default=PAGES)
    parser.add_argument("--job", type=int)
    options = parser.parse_args()
    if options.job:
        seconds = encode(build_model(), build_document(options.job), options.job)
        print(json.dumps({"peak_mib": peak_mib(), "seconds": seconds}))
        return
    few, two_batches, many = options.pages
    build_model()  # here, so that no measured process builds anything
    drawing = draw_time(few)
    for pages in options.pages:
        build_document(pages)
    found = {pages: run_job(pages) for pages in options.pages}
    peaks = {pages: values["peak_mib"] for pages, values in found.items()}
    rows = []
    for pages in (few, two_batches):
        ratio = peaks[many] / peaks[pages]
        measured = f"{ratio:.3f}x ({peaks[pages]:,.0f} and {peaks[many]:,.0f} MiB)"
        rows.append(row(f"peak memory, a document of {many:,} pages beside {pages:,}", "1.1x", measured, ratio <= 1.1))
    rows.append(row(f"drawing a page at {DPI} dpi", "-", f"{drawing * 1000:.0f} ms", None))
    report("documents", rows, {str(pages): values for pages, values in found.items()})


if __name__ == "__main__":
    main()
