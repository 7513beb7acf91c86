"""Which of many inputs are worth comparing: a few pairs each, by sketches that fit in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmst_cli.similarity import pictures, sounds
from mmst_cli.similarity.fingerprint import Fingerprint
from mmst_cli.vectors.nearest import nearest

NEIGHBOURS = 4  # nearest inputs that each is compared with
BUCKET = 5  # earlier texts with the same key that each is compared with
_AT_A_TIME = 4096  # pairs

Check = Callable[[npt.NDArray[np.uint8], npt.NDArray[np.uint8]], npt.NDArray[np.bool_]]
_POSSIBLE: dict[str, Check] = {"image": pictures.may_be_same, "audio": sounds.may_be_same}

Pairs = npt.NDArray[np.int64]
"""Places of two inputs, the smaller first, sorted; shape (pairs, 2)."""


def sketch_of(one: Fingerprint) -> tuple[str, npt.NDArray[Any]]:
    """Return what kind of sketch an input has, and the sketch: only those of one kind can be compared.

    Of a clip it is that of its frames, of an input of several parts that of its first medium, else of its text.
    """
    if one.modality == "text":
        return "text", one.arrays["keys"]
    if not one.parts:
        return one.modality, one.arrays["sketch"]
    if one.modality == "video":
        return "video", np.concatenate([frame.arrays["sketch"] for frame in one.parts])
    leading = next((part for part in one.parts if part.modality != "text"), one.parts[0])
    kind, sketch = sketch_of(leading)
    return f"{'+'.join(part.modality for part in one.parts)}:{kind}", sketch


def candidate_pairs(kinds: Sequence[str], sketches: Sequence[npt.NDArray[Any]]) -> Pairs:
    """Return the pairs of inputs that may be nearly the same; all others are not.

    Args:
        kinds: of each input, the kind of its sketch.
        sketches: of each input, its sketch.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    found = [np.empty((0, 2), np.int64)]
    for kind, members in places.items():
        if len(members) < 2:
            continue
        chosen = [sketches[place] for place in members]
        if kind.endswith("text"):
            pairs = _pairs_by_key(chosen)
        else:
            pairs = _nearest_pairs(np.stack(chosen))
            check = next((check for name, check in _POSSIBLE.items() if kind.endswith(name)), None)
            pairs = _possible(np.stack(chosen), pairs, check) if check else pairs
        found.append(np.array(members, np.int64)[pairs])
    return np.unique(np.concatenate(found), axis=0)


def _pairs_by_key(keys: Sequence[npt.NDArray[np.uint64]]) -> Pairs:
    buckets: dict[int, list[int]] = defaultdict(list)
    found: set[tuple[int, int]] = set()
    for place, own in enumerate(keys):
        for position, key in enumerate(own.tolist()):
            earlier = buckets[key]
            # All with the first key are the same text; of a band each may differ from each.
            found |= {(other, place) for other in (earlier[:1] if position == 0 else earlier[-BUCKET:])}
            earlier.append(place)
    return _as_pairs(found)


def _nearest_pairs(sketches: npt.NDArray[np.uint8]) -> Pairs:
    """Return each input with its nearest by Euclidean distance, what all have in common left out."""
    values = sketches.astype(np.float32)
    values -= values.mean(axis=0)
    # The inner product of (x, 1) and (y, -|y|^2 / 2) orders as the distance does.
    queries = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
    corpus = np.concatenate([values, -0.5 * (values**2).sum(axis=1, keepdims=True)], axis=1)
    _, places = nearest(queries, corpus, min(NEIGHBOURS + 1, len(values)))
    pairs = np.stack([np.repeat(np.arange(len(values)), places.shape[1]), places.reshape(-1)], axis=1)
    return np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)


def _possible(sketches: npt.NDArray[np.uint8], pairs: Pairs, check: Check) -> Pairs:
    """Keep the pairs whose sketches may be those of one input."""
    kept = []
    for first in range(0, len(pairs), _AT_A_TIME):
        some = pairs[first : first + _AT_A_TIME]
        kept.append(some[check(sketches[some[:, 0]], sketches[some[:, 1]])])
    return np.concatenate(kept) if kept else pairs


def _as_pairs(found: Iterable[tuple[int, int]]) -> Pairs:
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def group(count: int, pairs: Iterable[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Return for each of ``count`` inputs the first that it is the same as, directly or through others."""
    first = list(range(count))

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = first[first[place]]
            place = first[place]
        return place

    for one, other in pairs:
        smaller, larger = sorted((root(one), root(other)))
        first[larger] = smaller
    return np.array([root(place) for place in range(count)], dtype=np.int64)
