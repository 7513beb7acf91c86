"""Which contents are the same once decoded, and which are nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmst_cli.checking.contents import Contents, Numbers
from mmst_cli.checking.looks import Looks
from mmst_cli.checking.sets import CheckedSet
from mmst_cli.checking.work import do_parts, read_parts
from mmst_cli.errors import DataError
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.similarity.candidate_pairs import Pairs, candidate_pairs, group
from mmst_cli.similarity.sketch import is_near

PART = 256  # pairs a part


@dataclass(frozen=True)
class Same:
    """For every content the first that it is the same as; itself if there is none."""

    exact: Numbers
    """The same once decoded."""
    near: Numbers
    """The same but for encoding, size, a cut, or other writing; what is exactly the same is near as well."""


def find_same(
    sets: Sequence[CheckedSet],
    contents: Contents,
    looks: Looks,
    folder: Path,
    workers: int,
    on_pairs: Callable[[int, int], None],
) -> Same:
    """Find the contents that are the same, exactly and nearly; those that weren't looked at are only themselves.

    Args:
        sets: where the cells are.
        contents: which cell holds what.
        looks: what was found about them.
        folder: where parts of the work are kept.
        workers: processes.
        on_pairs: told how many pairs more were compared, and of how many.
    """
    count = len(contents.first)
    exact = np.arange(count)
    exact[looks.content] = looks.content[_same_digest(sets, contents, looks)]
    near = exact.copy()
    leading = np.flatnonzero((exact[looks.content] == looks.content) & np.array([bool(d) for d in looks.digest]))
    pairs = candidate_pairs([looks.kind[i] for i in leading], [looks.sketch[i] for i in leading])
    pairs = leading[pairs] if len(pairs) else pairs
    confirmed = _confirm(looks, pairs, folder, workers, on_pairs)
    joined = group(len(looks), map(tuple, confirmed.tolist()))
    near[looks.content] = looks.content[joined]
    return Same(exact, near[exact])  # what is the same as a content is near what that is near


def _same_digest(sets: Sequence[CheckedSet], contents: Contents, looks: Looks) -> Numbers:
    """Return for each look the first one with the same decoded content."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, name in enumerate(looks.digest):
        if name:
            places[name].append(place)
    first = np.arange(len(looks))
    for found in places.values():
        # At a smaller scale different images can look the same, so their pixels decide.
        named: dict[bytes, int] = {}
        for place in found:
            decide = len(found) > 1 and looks.drafted[place]
            name = _full_digest(sets, contents, int(looks.content[place])) if decide else b""
            first[place] = named.setdefault(name, place)
    return first


def _full_digest(sets: Sequence[CheckedSet], contents: Contents, content: int) -> bytes:
    number, column, row = contents.first[content].tolist()
    declared = sets[number].inputs[column]
    try:
        return digest_of_input(declared.modality, sets[number].rows.value_at(declared, row))
    except DataError:  # it could be read a moment ago
        return f"content {content}".encode()


def _confirm(looks: Looks, pairs: Pairs, folder: Path, workers: int, on_pairs: Callable[[int, int], None]) -> Pairs:
    parts = [pairs[first : first + PART] for first in range(0, len(pairs), PART)]
    compare = _Compare(looks)
    paths = do_parts(folder, "pairs", compare, parts, workers, lambda n: on_pairs(len(parts[n]), len(pairs)))
    near = [flag for table in read_parts(paths) for flag in table["near"].to_pylist()]
    return pairs[np.array(near, dtype=bool)] if len(pairs) else pairs


class _Compare:
    """From pairs of looks to whether they are near."""

    def __init__(self, looks: Looks) -> None:
        self.prints = looks.prints

    def __call__(self, pairs: Pairs) -> pa.Table:
        return pa.table({"near": [is_near(self.prints[one], self.prints[other]) for one, other in pairs.tolist()]})
