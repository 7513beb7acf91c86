"""Whether two inputs are the same or nearly so, by their fingerprints."""

from __future__ import annotations

from mmst_cli.similarity import pictures, sounds, texts
from mmst_cli.similarity.fingerprint import Fingerprint

_MODULES = {"text": texts, "image": pictures, "audio": sounds}


def is_near(a: Fingerprint, b: Fingerprint) -> bool:
    """Whether two inputs are the same, but for what a person would not call another one.

    Pictures may be encoded again, resized and cut at the edges; sounds encoded again, louder and cut at the ends;
    texts written otherwise, long ones with few other words. Of clips all compared frames, of inputs of several parts
    all parts must be near.
    """
    if a.digest == b.digest:
        return True
    if a.modality != b.modality or [part.modality for part in a.parts] != [part.modality for part in b.parts]:
        return False
    if a.parts:
        return all(is_near(one, other) for one, other in zip(a.parts, b.parts, strict=True))
    module = _MODULES.get(a.modality)
    return module is not None and module.are_near(a.arrays, b.arrays)
