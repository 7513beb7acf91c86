"""SVG text of figures by Matplotlib, which follows the reader's light or dark, in a page or as a file of its own."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from mmst_cli.storage import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 760  # pixels of a figure
LEGEND_LINE = 19  # pixels
CHARACTER, SWATCH = 6.5, 44  # pixels of an average character, and of what stands before a legend's label
MARGIN = 20  # pixels around a figure in a file of its own
TEXT, SOFT, FAINT, LINE, GROUND = "#1b1d22", "#565b66", "#dfe2e8", "#8d929c", "#ffffff"
SERIES = ("#1d5fa8", "#0b7566", "#b04f08", "#82389a", "#b02448")
MARKERS = ("o", "s", "^", "D", "v")
OLD = "#6c7078"
_DARK = {
    TEXT: "#e7e9ee",
    SOFT: "#a3a9b5",
    FAINT: "#343944",
    LINE: "#7d838f",
    GROUND: "#15171c",
    OLD: "#9a9fa8",
    **dict(zip(SERIES, ("#7fb6f5", "#52c9b2", "#f2a661", "#d09de8", "#f48aa2"), strict=True)),
}
# Colours are attributes in their light form, which any viewer shows, and this sheet turns them in the dark. The
# selectors stand alone, as one with an ancestor in it would not reach into what `use` repeats.
_RULES = [f'[{what}="{light}"] {{ {what}: {dark}; }}' for light, dark in _DARK.items() for what in ("fill", "stroke")]
CHART_CSS = "\n".join(["@media (prefers-color-scheme: dark) {", *_RULES, "}", ""])
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_LONG_NUMBER = re.compile(r"(\d\.\d\d)\d+")  # a hundredth of a pixel is not seen
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_STYLE = files("mmst_cli.evaluation") / "templates" / "figures.mplstyle"


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of this module, whatever style the user's own Matplotlib has."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it would speak of its fonts and its cache
    import matplotlib.style  # takes a while, so only who draws waits for it

    try:
        with as_file(_STYLE) as style, matplotlib.style.context(style, after_reset=True), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a letter that its font lacks: the reader's has it
            yield
    finally:
        logger.setLevel(level)


def panels(heights: Sequence[int], width: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels one above the other, with the same horizontal axis; sizes are in pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, sum(heights) / 72), layout="constrained")
    axes = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
    return figure, list(axes[:, 0])


def legend_shape(labels: Sequence[str], width: int) -> tuple[int, int]:
    """Return how many columns and lines a legend needs that is no wider than ``width`` pixels."""
    widest = CHARACTER * max(map(len, labels)) + SWATCH
    columns = max(1, min(len(labels), int(width / widest)))
    return columns, -(-len(labels) // columns)


def plain(text: str) -> str:
    """Return text with what XML can't hold replaced."""
    return _NO_XML.sub("\ufffd", text)


def empty_figure(title: str, reason: str, width: int) -> str:
    """Return a figure that says why there is nothing in it."""
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(width / 72, 40 / 72))
        figure.text(0, 0.4, reason, color=SOFT)
        return as_svg(figure, title, reason)


def as_svg(figure: Figure, title: str, description: str, tooltips: Mapping[str, str] | None = None) -> str:
    """Return a figure as SVG text whose ids are its own, with words for those who hear it or point at a mark.

    Args:
        figure: drawn in :func:`drawing`.
        title: what it shows.
        description: what is to be seen in it.
        tooltips: group id of an artist (``gid``) to what is said of it.
    """
    import matplotlib

    for panel in figure.axes:
        for line in panel.lines:  # they lie inside, and need not be asked for their room
            line.set_in_layout(False)
    file = io.StringIO()
    title, description = plain(title), plain(description)
    width, height = (round(72 * side) for side in figure.get_size_inches())
    matplotlib.rcParams["svg.hashsalt"] = f"{title} {description} {width}"
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(file.getvalue())
    drawn = [child for child in root if child.tag == f"{_SVG}g"]
    root[:] = [_words("title", title), _words("desc", description), *drawn]
    root.attrib |= {"width": str(width), "height": str(height), "role": "img", "stroke-linejoin": "round"}
    root.attrib |= {"aria-label": f"{title}. {description}", "font-family": "system-ui, sans-serif"}
    used = {element.get(f"{_XLINK}href", "#")[1:] for element in root.iter()}
    for element in root.iter():
        _clean(element, used, tooltips or {})
    ElementTree.register_namespace("", _SVG[1:-1])
    return ElementTree.tostring(root, encoding="unicode")


def _words(name: str, text: str) -> ElementTree.Element:
    element = ElementTree.Element(f"{_SVG}{name}")
    element.text = text
    return element


def _clean(element: ElementTree.Element, used: set[str], tooltips: Mapping[str, str]) -> None:
    """Turn styles into attributes, which a style sheet may change, and drop ids that nothing refers to."""
    element.text, element.tail = (text and text.strip() for text in (element.text, element.tail))
    name = element.get("id", "")
    if name in tooltips:
        element.insert(0, _words("title", plain(tooltips[name])))
    if name not in used:
        element.attrib.pop("id", None)
    element.attrib.pop("clip-path", None)  # all that is drawn lies inside
    for place in {"d", "x", "y", "transform"} & set(element.attrib):
        element.set(place, _LONG_NUMBER.sub(r"\1", element.attrib[place]).replace("  ", " "))
    if f"{_XLINK}href" in element.attrib:
        element.set("href", element.attrib.pop(f"{_XLINK}href"))
    for part in filter(None, element.attrib.pop("style", "").split("; ")):
        key, _, value = part.partition(": ")
        if key != "font-family":
            element.set(key, value)


def save_svg(path: Path, svg: str) -> Path:
    """Write a figure as a file of its own, with its colours, a ground to stand on and a margin."""
    root = ElementTree.fromstring(svg)
    width, height = (int(root.attrib[side]) + 2 * MARGIN for side in ("width", "height"))
    place = {"x": str(-MARGIN), "y": str(-MARGIN), "width": str(width), "height": str(height)}
    root.attrib |= {"viewBox": " ".join(place.values()), "width": str(width), "height": str(height)}
    root.insert(2, _words("style", CHART_CSS))
    root.insert(3, ElementTree.Element(f"{_SVG}rect", {**place, "fill": GROUND}))
    return write_text(path, f"{ElementTree.tostring(root, encoding='unicode')}\n")
