"""Whether a model became better: one sentence an evaluator."""

from __future__ import annotations

from collections.abc import Mapping

from mmst_cli.evaluation.results import Evaluation
from mmst_cli.evaluation.statistics import compare


def verdict(before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]) -> str:
    """Say in a sentence an evaluator whether the model became better, worse, or neither that shows."""
    return " ".join(_verdict(before.get(name), found) for name, found in after.items()) or "Nothing was evaluated."


def _verdict(before: Evaluation | None, after: Evaluation) -> str:
    result = after.result
    new, key = result.primary(result.full), result.full.key
    about = f"{result.evaluator}: {result.primary_metric} at {result.full.dim} dimensions"
    old_cell = before.result.cell(result.full.dim) if before else None
    if before is None or old_cell is None:
        return f"{about} is {new:.4f}."
    old = before.result.primary(old_cell)
    figures = f"{old:.4f} before, {new:.4f} after"
    if key not in before.per_query or before.query_ids != after.query_ids:
        word = "better" if new > old else "worse" if new < old else "no different"
        return f"{about} is {word} than before ({figures}); no interval is known for this metric."
    paired = compare(after.per_query[key][:, None], before.per_query[key][:, None])
    low, high = paired.interval[0]
    interval = f"{new - old:+.4f}, 95% interval {low:+.4f} to {high:+.4f} over {len(after.query_ids)} queries"
    if low <= 0 <= high:
        return f"{about} is no different from before, as far as these queries show ({figures}: {interval})."
    return f"{about} is {'better' if new > old else 'worse'} than before ({figures}: {interval})."
