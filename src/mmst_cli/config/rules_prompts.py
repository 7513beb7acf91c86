"""Rules for prompts: for roles that are there, and told in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmst_cli.config.schema import Config, DatasetConfig, Role, Use
from mmst_cli.errors import did_you_mean

_PROMPTED = (Role.anchor, Role.positive, Role.negative)


def check_prompts(config: Config) -> list[str]:
    """Return the faults of `prompts`, at the top of the file and in the datasets."""
    faults = _check(config.prompts, config.datasets.values(), "prompts", "no dataset has")
    negative = config.prompts.get(Role.negative)
    if negative is not None and negative != config.prompts.get(Role.positive):
        faults.append(
            "prompts.negative: positives and negatives are documents alike and take one prompt in evaluation."
            " Leave it out: negatives have the prompt of positives."
        )
    for name, dataset in config.datasets.items():
        key = f"datasets.{name}.prompts"
        faults += _check(dataset.prompts, [dataset], key, f"{name} doesn't have")
        if dataset.prompts and dataset.use is not Use.train:
            faults.append(f"{key}: these are for training; evaluation takes `prompts` at the top. Leave them out.")
    if config.training.get("prompts") and (config.prompts or any(d.prompts for d in config.datasets.values())):
        faults.append("training.prompts: `prompts` says this by role. Keep one of the two.")
    return faults


def _check(prompts: Mapping[str, str], datasets: Iterable[DatasetConfig], key: str, nobody: str) -> list[str]:
    there = {column.role for dataset in datasets for column in dataset.columns.values()}
    if Role.positive in there or Role.negative in there:
        there |= {Role.positive}  # the prompt of documents, negatives among them
    faults = []
    for role in prompts:
        if role not in list(_PROMPTED):
            suggestion = did_you_mean(str(role), _PROMPTED)
            faults.append(f"{key}.{role}: prompts go by role: {', '.join(_PROMPTED)}.{suggestion}")
        elif role not in there:
            faults.append(f"{key}.{role}: {nobody} a column of the role {role}. Leave it out.")
    return faults
