"""Reports without the lines of their charts, for tests that run commands: drawing takes a quarter of a short run.

The charts themselves are drawn in tests/evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def empty_charts() -> Iterator[None]:
    """Put figures of the right size, with nothing in them, where reports of this process and its forks have charts."""
    from mmst_cli.evaluation import loss_chart, quality_chart

    with pytest.MonkeyPatch.context() as patch:
        for chart in (loss_chart, quality_chart):
            patch.setattr(chart, "as_svg", _as_empty_svg)
        yield


def _as_empty_svg(figure: Figure, title: str, description: str, *_: object) -> str:
    from matplotlib.figure import Figure

    from mmst_cli.evaluation.svg_figures import as_svg

    return as_svg(Figure(figure.get_size_inches()), title, description)
