"""Mixes of models, and which of them is best on the evaluators of a config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mmst_cli.errors import ModelError
from mmst_cli.evaluation.comparison import Comparison, compare_evaluations
from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.merging.config_notes import told_alike

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Mix:
    """Some of the models, and with which weights; they sum to 1."""

    weights: tuple[float, ...]
    method: str = "linear"

    def label(self, names: Sequence[str]) -> str:
        """Return what the mix is called."""
        parts = [(name, weight) for name, weight in zip(names, self.weights, strict=True) if weight]
        return parts[0][0] if len(parts) == 1 else " + ".join(f"{weight:.3g} {name}" for name, weight in parts)

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"method": self.method, "weights": dict(zip(names, self.weights, strict=True))}


@dataclass(frozen=True)
class Measured:
    """A mix with what the evaluators found."""

    mix: Mix
    evaluations: Mapping[str, Evaluation]

    @property
    def score(self) -> float:
        """The mean of the evaluators' primary metrics at their largest dimension."""
        return fmean(found.result.primary(found.result.full) for found in self.evaluations.values())


def equal(count: int, members: Sequence[int]) -> Mix:
    """Return the mix of some of so many models in equal parts."""
    return Mix(tuple(1 / len(members) if index in members else 0.0 for index in range(count)))


def mixed(models: Sequence[SentenceTransformer], mix: Mix, names: Sequence[str]) -> SentenceTransformer:
    """Return a new model; one that is a mix of itself alone is returned as it is.

    Weights are averaged in float32 by the library, and held in the dtype that all models have.

    Raises:
        ModelError: they don't go together.
    """
    used = [index for index, weight in enumerate(mix.weights) if weight]
    if len(used) == 1:
        return models[used[0]]
    weights = [mix.weights[index] for index in used]
    parameters: dict[str, Any] = {"t": weights[1]} if mix.method == "slerp" else {"weight": weights}
    chosen = [models[index] for index in used]
    dtypes = {model.dtype for model in chosen}
    try:
        with told_alike(chosen):
            return type(models[0]).merge(
                chosen,
                mix.method,
                parameters=parameters,
                out_dtype=dtypes.pop() if len(dtypes) == 1 else None,
                device=models[0].device,
            )
    except ImportError as error:
        raise ModelError("merging needs the package mergekit: pip install 'mmst-cli[merge]'.") from error
    except ValueError as error:
        said = re.sub(r"\b[Mm]odel (\d+)\b", lambda found: names[used[int(found[1])]], str(error))
        raise ModelError(f"they can't be merged: {said} Merge models that were trained from the same one.") from error


def choose(count: int, measure: Callable[[Mix], Measured]) -> tuple[Measured, list[Measured]]:
    """Return the best mix, and all that were measured: each model alone, then greedily more of them.

    From the best model on, the others are added in the order of their scores, in equal parts, and kept where the score
    grows: the greedy soup of Wortsman et al., 2022 (https://arxiv.org/abs/2203.05482).
    """
    found = [measure(equal(count, [index])) for index in range(count)]
    order = sorted(range(count), key=lambda index: -found[index].score)
    members, best = [order[0]], found[order[0]]
    for index in order[1:]:
        tried = measure(equal(count, [*members, index]))
        found.append(tried)
        if tried.score > best.score:
            members, best = [*members, index], tried
    return best, found


def compared_with_single(best: Measured, singles: Sequence[Measured], names: Sequence[str]) -> dict[str, Comparison]:
    """Return the comparison of a mix with the best model alone, query by query, by evaluator; none if that is best."""
    single = max(singles, key=lambda one: one.score)
    if best is single:
        return {}
    return {
        name: compare_evaluations(found, single.evaluations[name], best.mix.label(names), single.mix.label(names))
        for name, found in best.evaluations.items()
        if found.per_query
    }


def mixes_table(measured: Sequence[Measured], best: Measured, names: Sequence[str]) -> Table:
    """Return what was measured as a table, the best first."""
    table = Table("mix", "score", "95% interval", "")
    for one in sorted(measured, key=lambda one: -one.score):
        interval = "-"
        if len(one.evaluations) == 1 and (cell := next(iter(one.evaluations.values())).result.full).interval:
            interval = "{:.4f} to {:.4f}".format(*cell.interval)
        table.add_row(one.mix.label(names), f"{one.score:.4f}", interval, "kept" if one is best else "")
    return table
