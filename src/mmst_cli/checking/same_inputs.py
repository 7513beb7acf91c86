"""Which contents are the same once decoded, and which are nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmst_cli.checking.checked_sets import CheckedSet, DistinctContents, Numbers
from mmst_cli.checking.examination import Examination
from mmst_cli.checking.parallel_parts import do_parts, read_parts
from mmst_cli.errors import DataError
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.similarity.candidate_pairs import Pairs, candidate_pairs, group
from mmst_cli.similarity.sketch import is_near
from mmst_cli.terminal import Progress

PART = 256  # pairs a part


@dataclass(frozen=True)
class SameContents:
    """For every content the first that it is the same as; itself if there is none."""

    exact: Numbers
    """The same once decoded."""
    near: Numbers
    """The same but for encoding, size, a cut, or other writing; what is exactly the same is near as well."""


def find_same_contents(
    sets: Sequence[CheckedSet],
    contents: DistinctContents,
    examined: Examination,
    folder: Path,
    workers: int,
    progress: Progress,
) -> SameContents:
    """Find the contents that are the same, exactly and nearly; those that weren't examined are only themselves.

    Args:
        sets: where the cells are.
        contents: which cell holds what.
        examined: what was found about them.
        folder: where parts of the work are kept.
        workers: processes.
        progress: counts the pairs that are compared.
    """
    count = len(contents.first)
    exact = np.arange(count)
    exact[examined.content] = examined.content[_same_digest(sets, contents, examined)]
    near = exact.copy()
    is_first = exact[examined.content] == examined.content
    leading = np.flatnonzero(is_first & np.array([bool(digest) for digest in examined.digest]))
    pairs = candidate_pairs([examined.kind[i] for i in leading], [examined.signature[i] for i in leading])
    pairs = leading[pairs] if len(pairs) else pairs
    confirmed = _confirm(examined, pairs, folder, workers, progress)
    joined = group(len(examined), confirmed)
    near[examined.content] = examined.content[joined]
    return SameContents(exact, near[exact])  # what is the same as a content is near what that is near


def _same_digest(sets: Sequence[CheckedSet], contents: DistinctContents, examined: Examination) -> Numbers:
    """Return for each examined content the first one with the same decoded content."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, name in enumerate(examined.digest):
        if name:
            places[name].append(place)
    first = np.arange(len(examined))
    for found in places.values():
        # At a smaller scale different images can look the same, so their pixels decide.
        named: dict[bytes, int] = {}
        for place in found:
            decide = len(found) > 1 and examined.drafted[place]
            name = _full_digest(sets, contents, int(examined.content[place])) if decide else b""
            first[place] = named.setdefault(name, place)
    return first


def _full_digest(sets: Sequence[CheckedSet], contents: DistinctContents, content: int) -> bytes:
    number, column, row = contents.first[content].tolist()
    declared = sets[number].inputs[column]
    try:
        return digest_of_input(declared.modality, sets[number].rows.value_at(declared, row))
    except DataError:  # it could be read a moment ago
        return f"content {content}".encode()


def _confirm(examined: Examination, pairs: Pairs, folder: Path, workers: int, progress: Progress) -> Pairs:
    parts = [pairs[first : first + PART] for first in range(0, len(pairs), PART)]

    def count(number: int) -> None:
        progress.advance(len(parts[number]), total=len(pairs))

    paths = do_parts(folder, "near", _Compare(examined), parts, workers, count)
    near = [flag for table in read_parts(paths) for flag in table["near"].to_pylist()]
    return pairs[np.array(near, dtype=bool)] if len(pairs) else pairs


class _Compare:
    """From pairs of examined contents to whether they are near."""

    def __init__(self, examined: Examination) -> None:
        self.sketches = examined.sketches

    def __call__(self, pairs: Pairs) -> pa.Table:
        return pa.table({"near": [is_near(self.sketches[one], self.sketches[other]) for one, other in pairs.tolist()]})
