"""The figures of a run: SVG text that follows the reader's light or dark, in a page or as a file of its own."""

from __future__ import annotations

import re
from pathlib import Path

from mmst_cli.evaluation.chart_drawing import CHART_CSS, element
from mmst_cli.evaluation.loss_chart import loss_chart
from mmst_cli.evaluation.quality_chart import quality_chart
from mmst_cli.storage import write_text

__all__ = ["CHART_CSS", "loss_chart", "quality_chart", "save_svg"]

MARGIN = 20  # pixels around a figure in a file of its own
GROUND_CSS = """
.chart { color: #1b1d22; }
.chart .ground { fill: #ffffff; }
@media (prefers-color-scheme: dark) { .chart { color: #e7e9ee; } .chart .ground { fill: #15171c; } }
"""


def save_svg(path: Path, svg: str) -> Path:
    """Write a figure of this module as a file of its own, with its colours, a ground to stand on and a margin."""
    width, height = (float(side) for side in re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0])
    across, down = width + 2 * MARGIN, height + 2 * MARGIN
    frame = f'viewBox="{-MARGIN} {-MARGIN} {across:g} {down:g}" width="{across:g}" height="{down:g}"'
    svg = re.sub(r'viewBox="[^"]*" width="[^"]*" height="[^"]*"', frame, svg, count=1)
    style = f"<style>{GROUND_CSS}{CHART_CSS}</style>"
    ground = element("rect", x=-MARGIN, y=-MARGIN, width=across, height=down, class_="ground")
    head, end, rest = svg.partition("</desc>")
    return write_text(path, f"{head}{end}{style}{ground}{rest}\n")
