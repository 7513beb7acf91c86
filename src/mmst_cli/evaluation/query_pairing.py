"""Which query of one evaluation is which of another: by what they ask, for a row's number may be any query's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import xxhash

from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.vectors.ranking import Relevance

UNKNOWN = (
    "One of the two was saved by an earlier version, without what its queries ask: they were paired by row or id, "
    "which is right only if the data are the same. Evaluate it again to be sure."
)


def paired_by_content(one: Evaluation, other: Evaluation) -> bool:
    """Whether both know what their queries ask; older files know only their rows or ids."""
    return bool(one.contents and other.contents)


def query_keys(one: Evaluation, other: Evaluation) -> tuple[Sequence[Hashable], Sequence[Hashable]]:
    """Return what names each query of either, the same where they are the same query."""
    if not paired_by_content(one, other):
        return one.query_ids, other.query_ids
    return _by_content(one), _by_content(other)


def same_queries(one: Evaluation, other: Evaluation) -> bool:
    """Whether both are of the same queries, in the same order."""
    first, second = query_keys(one, other)
    return list(first) == list(second)


def name_answers(wanted: Relevance, names: Sequence[bytes]) -> list[str]:
    """Return, a query, what names its answers, with their grades, and the documents that they are among.

    Args:
        wanted: which documents answer which queries.
        names: of each document, the same for the same one of any data.
    """
    corpus = xxhash.xxh3_128_digest(b"\0".join(sorted(names)))
    answers: list[list[bytes]] = [[] for _ in range(wanted.queries)]
    for query, document, grade in zip(
        *(part.tolist() for part in (wanted.query, wanted.document, wanted.grade)), strict=True
    ):
        answers[query].append(names[document] + b" %d" % int(grade))
    return [xxhash.xxh3_128_hexdigest(b"\0".join([corpus, *sorted(of_query)])) for of_query in answers]


def _by_content(evaluation: Evaluation) -> list[tuple[str, int]]:
    """Return the content of each query, and which one of it that is by their ids, for judgements may repeat it."""
    of: dict[str, list[str]] = defaultdict(list)
    for content, query in zip(evaluation.contents, evaluation.query_ids, strict=True):
        of[content].append(query)
    rank = {content: {query: place for place, query in enumerate(sorted(found))} for content, found in of.items()}
    pairs = zip(evaluation.contents, evaluation.query_ids, strict=True)
    return [(content, rank[content][query]) for content, query in pairs]
