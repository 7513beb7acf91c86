"""Pages from templates: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

MAX_BYTES = 5_000_000  # of a page


def render(package: str, template: str, values: Mapping[str, Any]) -> str:
    """Return a page.

    Args:
        package: the package whose `templates` folder holds the template, which may extend `page.html`.
        template: its file name.
        values: what it shows; every string is escaped.
    """
    page = _environment(package).get_template(template).render(values)
    return page.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair in a query can't be written


def page_bytes(page: str) -> int:
    """Return the size of a page as it is written."""
    return len(page.encode("utf-8"))


@cache
def _environment(package: str) -> Environment:
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("mmst_cli.html")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
