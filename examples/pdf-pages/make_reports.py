"""Write PDF reports, and a table of questions about their pages: `python make_reports.py FOLDER`.

A page has a heading on a coloured band, a chart, some lines, and below them a table or nothing. A question names what
is to be seen on one page. `questions.csv` has those about most reports; `unseen.csv` is about the others.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw

Box = tuple[int, int, int, int]
COLOURS = {"red": "#d03030", "blue": "#2040d0", "green": "#108040", "orange": "#ff9000"}
GREYS = ("#222222", "#555555", "#888888", "#bbbbbb", "#dddddd")
CHARTS = ("bar chart", "pie chart", "line chart")
PAGES = 8
UNSEEN = 0.2  # of the reports


def draw_page(colour: str, chart: str, *, table: bool, title: str, rng: random.Random) -> Image.Image:
    """Draw one page, A6 upright at 75 dots an inch, whose numbers are drawn at random."""
    page = Image.new("RGB", (310, 437), "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 310, 64), fill=COLOURS[colour])
    draw.text((14, 18), title, fill="white", font_size=22)
    draw_chart(draw, chart, (40, 90, 270, 260), [rng.randint(2, 9) for _ in range(5)])
    for line in range(3):
        draw.line((40, 272 + 9 * line, rng.randint(80, 270), 272 + 9 * line), fill="#999999", width=3)
    if table:
        for row in range(5):
            draw.rectangle((40, 300 + 22 * row, 270, 321 + 22 * row), fill="white" if row % 2 else "#bbbbbb")
            for column in range(4):
                draw.text((52 + 56 * column, 303 + 22 * row), str(rng.randint(10, 99)), fill="black", font_size=14)
    return page


def draw_chart(draw: ImageDraw.ImageDraw, chart: str, box: Box, values: list[int]) -> None:
    """Draw five values of at most 9 as a chart of a kind."""
    left, top, right, bottom = box
    width, height = (right - left) // 5, (bottom - top) // 9
    if chart == "pie chart":
        begin, circle = 0.0, (left + 30, top, left + 30 + bottom - top, bottom)
        for grey, value in zip(GREYS, values, strict=True):
            end = begin + 360 * value / sum(values)
            draw.pieslice(circle, begin, end, fill=grey)
            begin = end
        return
    points = [(left + width * place, bottom - height * value) for place, value in enumerate(values)]
    if chart == "line chart":
        draw.line(points, fill="#444444", width=5)
    else:
        for x, y in points:
            draw.rectangle((x, y, x + width - 12, bottom), fill="#444444")


def main() -> None:
    """Write the reports and their questions."""
    parser = argparse.ArgumentParser(description="Write PDF reports and questions about their pages.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reports", type=int, default=40)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    rng, rows = random.Random(0), []
    for number in range(given.reports):
        name, pages = f"report-{number:02d}.pdf", []
        for page in range(1, PAGES + 1):
            colour, chart, table = rng.choice(list(COLOURS)), rng.choice(CHARTS), rng.random() < 0.5
            pages.append(draw_page(colour, chart, table=table, title=f"Report {number}, page {page}", rng=rng))
            below = "above a table" if table else "and no table"
            rows.append((f"the {chart} under a {colour} heading, {below}", f"{name}#{page}"))
        pages[0].save(given.folder / name, save_all=True, append_images=pages[1:], resolution=75)
    seen = int(given.reports * (1 - UNSEEN)) * PAGES
    for file, part in (("questions.csv", rows[:seen]), ("unseen.csv", rows[seen:])):
        with (given.folder / file).open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows([("question", "page"), *part])
    print(f"{given.reports} reports of {PAGES} pages in {given.folder}")


if __name__ == "__main__":
    main()
