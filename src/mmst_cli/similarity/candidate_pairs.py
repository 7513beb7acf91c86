"""Which of many inputs are worth comparing: a few pairs each, by signatures that fit in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmst_cli.similarity import image_likeness, sound_likeness
from mmst_cli.similarity.sketch import Sketch
from mmst_cli.vectors.nearest import nearest

NEIGHBOURS = 4  # nearest inputs that each is compared with
BUCKET = 5  # earlier texts with the same key that each is compared with
_AT_A_TIME = 4096  # pairs

Check = Callable[[npt.NDArray[np.uint8], npt.NDArray[np.uint8]], npt.NDArray[np.bool_]]
_POSSIBLE: dict[str, Check] = {"image": image_likeness.may_be_same, "audio": sound_likeness.may_be_same}

Pairs = npt.NDArray[np.int64]
"""Places of two inputs, the smaller first, sorted; shape (pairs, 2)."""


def signature_of(one: Sketch) -> tuple[str, npt.NDArray[Any]]:
    """Return what kind of signature an input has, and the signature: only those of one kind can be compared.

    Of a clip it is that of its frames, of an input of several parts that of its first medium, else of its text.
    """
    if one.modality == "text":
        return "text", one.arrays["keys"]
    if not one.parts:
        return one.modality, one.arrays["signature"]
    if one.modality == "video":
        return "video", np.concatenate([frame.arrays["signature"] for frame in one.parts])
    leading = next((part for part in one.parts if part.modality != "text"), one.parts[0])
    kind, signature = signature_of(leading)
    return f"{'+'.join(part.modality for part in one.parts)}:{kind}", signature


def candidate_pairs(kinds: Sequence[str], signatures: Sequence[npt.NDArray[Any]]) -> Pairs:
    """Return the pairs of inputs that may be nearly the same; all others are not.

    Args:
        kinds: of each input, the kind of its signature.
        signatures: of each input, its signature.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    found = [np.empty((0, 2), np.int64)]
    for kind, members in places.items():
        if len(members) < 2:
            continue
        chosen = [signatures[place] for place in members]
        if kind.endswith("text"):
            pairs = _pairs_by_key(chosen)
        else:
            pairs = _nearest_pairs(np.stack(chosen))
            check = next((check for name, check in _POSSIBLE.items() if kind.endswith(name)), None)
            pairs = _possible(np.stack(chosen), pairs, check) if check else pairs
        found.append(np.array(members, np.int64)[pairs])
    return np.unique(np.concatenate(found), axis=0)


def _pairs_by_key(keys: Sequence[npt.NDArray[np.uint64]]) -> Pairs:
    """Return each text with the first that is the same, and with the few before it that share a band with it."""
    _, first, inverse = np.unique([own[0] for own in keys], return_index=True, return_inverse=True)
    found = [np.stack([first[inverse], np.arange(len(keys))], axis=1)]
    bands = np.concatenate([own[1:] for own in keys])
    order = np.argsort(bands, kind="stable")
    owners = np.repeat(np.arange(len(keys)), [len(own) - 1 for own in keys])[order]
    bands = bands[order]
    for back in range(1, BUCKET + 1):
        shared = bands[back:] == bands[:-back]
        found.append(np.stack([owners[:-back][shared], owners[back:][shared]], axis=1))
    pairs = np.concatenate(found)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _nearest_pairs(signatures: npt.NDArray[np.uint8]) -> Pairs:
    """Return each input with its nearest by Euclidean distance, what all have in common left out."""
    values = signatures.astype(np.float32)
    values -= values.mean(axis=0)
    # The inner product of (x, 1) and (y, -|y|^2 / 2) orders as the distance does.
    queries = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
    corpus = np.concatenate([values, -0.5 * (values**2).sum(axis=1, keepdims=True)], axis=1)
    _, places = nearest(queries, corpus, min(NEIGHBOURS + 1, len(values)))
    pairs = np.stack([np.repeat(np.arange(len(values)), places.shape[1]), places.reshape(-1)], axis=1)
    return np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)


def _possible(signatures: npt.NDArray[np.uint8], pairs: Pairs, check: Check) -> Pairs:
    """Keep the pairs whose signatures may be those of one input."""
    kept = []
    for first in range(0, len(pairs), _AT_A_TIME):
        some = pairs[first : first + _AT_A_TIME]
        kept.append(some[check(signatures[some[:, 0]], signatures[some[:, 1]])])
    return np.concatenate(kept) if kept else pairs


def group(count: int, pairs: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return for each of ``count`` inputs the first that it is the same as, directly or through others."""
    ends = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    links = coo_array((np.ones(len(ends), dtype=bool), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, labels = connected_components(links, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)
