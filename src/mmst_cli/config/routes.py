"""The names of routes: a modality, a side, or both."""

from __future__ import annotations

SIDES = ("query", "document")
MODALITIES = ("text", "image", "audio", "video")


def split_route(route: str) -> tuple[str | None, str | None]:
    """Return side and modality of a route: `query/text` is both, `image` and `document` are one.

    Raises:
        ValueError: it is neither.
    """
    side, slash, modality = route.partition("/")
    if slash:
        if side in SIDES and modality in MODALITIES:
            return side, modality
    elif route in SIDES:
        return route, None
    elif route in MODALITIES:
        return None, route
    raise ValueError(f"{route}: not a route")
