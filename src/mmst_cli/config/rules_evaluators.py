"""Rules for evaluators: what they are built from, and the metrics they write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmst_cli.config.arguments import check_arguments
from mmst_cli.config.rules_loss import check_dimensions, loss_datasets
from mmst_cli.config.schema import Config, DatasetConfig, EvaluatorConfig, Layout, Role
from mmst_cli.config.signatures import OWN_EVALUATOR, evaluator_names, evaluator_signature
from mmst_cli.config.user_classes import is_dotted
from mmst_cli.errors import ConfigError, did_you_mean

_ANCHOR, _POSITIVE, _LABEL = ({role: "exactly one"} for role in (Role.anchor, Role.positive, Role.label))
_NEGATIVES = {Role.negative: "at least one"}
_RETRIEVAL = {**_ANCHOR, Role.positive: "at least one"}

ROLES_NEEDED: dict[str, dict[Role, str]] = {
    OWN_EVALUATOR: _RETRIEVAL,
    "InformationRetrievalEvaluator": _RETRIEVAL,
    "TripletEvaluator": {**_ANCHOR, **_POSITIVE, **_NEGATIVES},
    "RerankingEvaluator": {**_RETRIEVAL, **_NEGATIVES},
    "EmbeddingSimilarityEvaluator": {**_ANCHOR, **_POSITIVE, **_LABEL},
    "BinaryClassificationEvaluator": {**_ANCHOR, **_POSITIVE, **_LABEL},
}
"""The evaluators that can be built from columns, and the columns that each needs."""

ARGUMENT_ROLES: dict[str, dict[Role, str]] = {
    **dict.fromkeys(("queries", "corpus", "relevant_docs"), _RETRIEVAL),
    **dict.fromkeys(("anchors", "sentences1"), _ANCHOR),
    **dict.fromkeys(("positives", "sentences2"), _POSITIVE),
    **dict.fromkeys(("labels", "scores"), _LABEL),
    "negatives": _NEGATIVES,
    "samples": {**_RETRIEVAL, **_NEGATIVES},
}
"""What an evaluator is given from the data, by the names of its arguments, and the columns that each is made of."""

READ_JUDGEMENTS = (OWN_EVALUATOR, "InformationRetrievalEvaluator")
"""The evaluators that can be built from a corpus, queries and judgements."""

PRECISIONS = ("float32", "float16", "int8", "binary", "binary-rescored")
"""The precisions at which vectors can be measured."""

MEAN = "mean"
"""The metric that is the mean of all evaluators' primary metrics, where there are several."""

FILLED = (*ARGUMENT_ROLES, "name")
"""Arguments of evaluators that are filled from the data and the evaluator's name."""

_SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
_CUTOFFS = {  # metric: the argument that holds its k, and the default
    "accuracy": ("accuracy_at_k", [1, 3, 5, 10]),
    "precision": ("precision_recall_at_k", [1, 3, 5, 10]),
    "recall": ("precision_recall_at_k", [1, 3, 5, 10]),
    "ndcg": ("ndcg_at_k", [10]),
    "mrr": ("mrr_at_k", [10]),
    "map": ("map_at_k", [100]),
}


def check_evaluators(config: Config, *, import_own: bool = True) -> list[str]:
    """Return the faults of ``evaluators``: types, datasets, columns, dimensions, arguments.

    Args:
        config: the whole config.
        import_own: whether a user's own classes are imported and checked; what evaluates nothing needs none.
    """
    faults = []
    for name, evaluator in config.evaluators.items():
        key = f"evaluators.{name}"
        if "/" in str(name):
            faults.append(f"{key}: an evaluator's name becomes a file name, so it can't have a / in it.")
        if name == MEAN:
            faults.append(f"{key}: {MEAN} is the mean over evaluators. Give it another name.")
        if evaluator.dims != config.matryoshka_dims:  # else told at the top of the file
            faults += check_dimensions(evaluator.dims, f"{key}.dims")
        faults += _check_precisions(evaluator, f"{key}.precisions")
        if is_dotted(evaluator.type) and not import_own:
            continue
        try:
            faults += _check_type(evaluator, key)
            faults += _check_dataset(evaluator, config.datasets, key)
        except ConfigError as error:
            faults.append(f"{key}.type: {error}")
    return faults


def is_written(metric: str, config: Config) -> bool:
    """Say whether an evaluation of this config writes ``metric``, with or without `eval_` in front."""
    metric = metric if metric.startswith("eval_") else f"eval_{metric}"
    if metric == f"eval_{MEAN}" and len(config.evaluators) > 1:
        return True
    datasets = loss_datasets(config)
    if metric in ([f"eval_{name}_loss" for name in datasets] if len(datasets) > 1 else ["eval_loss"] * len(datasets)):
        return True
    return any(_writes(evaluator, str(name), metric) for name, evaluator in config.evaluators.items())


def primary_metric(config: Config) -> str | None:
    """Return the metric that best-model options would best go by, or None if nothing is evaluated."""
    if len(config.evaluators) > 1:
        return f"eval_{MEAN}"
    for name, evaluator in config.evaluators.items():
        if evaluator.type in READ_JUDGEMENTS:
            cutoffs = _cutoffs(evaluator, "ndcg")
            return f"eval_{name}_cosine_ndcg@{max(cutoffs)}" if cutoffs else None
    return "eval_loss" if len(loss_datasets(config)) == 1 else None


def _writes(evaluator: EvaluatorConfig, name: str, metric: str) -> bool:
    if not metric.startswith(f"eval_{name}_"):
        return False
    if evaluator.type not in READ_JUDGEMENTS:
        return True  # the names after the prefix are the library's own
    at = ["", *(f"{name}_" for name in evaluator.precisions if name != "float32")]
    sizes = ["", *(f"dim_{dim}_{precision}" for dim in evaluator.dims for precision in at)]
    return metric.removeprefix(f"eval_{name}_") in {
        f"{size}{similarity}_{kind}@{k}"
        for size in sizes
        for similarity in _SIMILARITIES
        for kind in _CUTOFFS
        for k in _cutoffs(evaluator, kind)
    }


def _cutoffs(evaluator: EvaluatorConfig, kind: str) -> list[Any]:
    argument, default = _CUTOFFS[kind]
    given = evaluator.args.get(argument, default)
    return given if isinstance(given, list) else default


def _check_type(evaluator: EvaluatorConfig, key: str) -> list[str]:
    if not evaluator_names():
        return []
    buildable = ", ".join(ROLES_NEEDED)
    if evaluator.type not in evaluator_names() and not is_dotted(evaluator.type):
        suggestion = did_you_mean(evaluator.type, evaluator_names()) or f" There are {buildable}."
        return [f"{key}.type: there is no evaluator {evaluator.type}.{suggestion}"]
    if evaluator.type not in ROLES_NEEDED and not is_dotted(evaluator.type):
        return [f"{key}.type: {evaluator.type} can't be built from columns. These can: {buildable}."]
    faults = []
    signature = evaluator_signature(evaluator.type)
    cuts = evaluator.type == OWN_EVALUATOR or (signature and "truncate_dim" in signature.parameters)
    if evaluator.dims and not cuts:
        faults.append(f"{key}.dims: {evaluator.type} can't measure at other dimensions. Leave dims out.")
    if "truncate_dim" in evaluator.args and (evaluator.type == OWN_EVALUATOR or evaluator.dims):
        return [*faults, f"{key}.args.truncate_dim: write it as {key}.dims."]
    return faults + (
        check_arguments(evaluator.type, evaluator.args, signature, FILLED, f"{key}.args") if signature else []
    )


def _check_precisions(evaluator: EvaluatorConfig, key: str) -> list[str]:
    given = evaluator.precisions
    if given and evaluator.type != OWN_EVALUATOR:
        return [f"{key}: only {OWN_EVALUATOR} measures several precisions. Take that, or leave precisions out."]
    faults = [
        f"{key}: there is no precision {name}; there is {', '.join(PRECISIONS)}." + did_you_mean(name, PRECISIONS)
        for name in given
        if name not in PRECISIONS
    ]
    repeated = dict.fromkeys(name for name in given if given.count(name) > 1)
    return faults + [f"{key}: {name} stands there more than once. Leave it there once." for name in repeated]


def _check_dataset(evaluator: EvaluatorConfig, datasets: dict[str, DatasetConfig], key: str) -> list[str]:
    dataset = datasets.get(evaluator.dataset)
    if dataset is None:
        known = did_you_mean(evaluator.dataset, datasets) or f" Declared: {', '.join(datasets)}."
        return [f"{key}.dataset: there is no dataset {evaluator.dataset} in `datasets`.{known}"]
    if dataset.layout is Layout.beir:
        if not _roles_needed(evaluator.type) or _roles_needed(evaluator.type) == _RETRIEVAL:
            return []  # its columns are checked with the dataset; an unknown type has been told
        return [
            f"{key}.dataset: {evaluator.type} reads rows, and {evaluator.dataset} has layout beir."
            f" {' and '.join(READ_JUDGEMENTS)} read that."
        ]
    roles = [column.role for column in dataset.columns.values()]
    return [
        f"{key}.dataset: {evaluator.type} needs {wanted} {role} column, and {evaluator.dataset} has"
        f" {roles.count(role) or 'none'}. Set the roles under datasets.{evaluator.dataset}.columns."
        for role, wanted in _roles_needed(evaluator.type).items()
        if roles.count(role) < 1 or (wanted == "exactly one" and roles.count(role) > 1)
    ]


def _roles_needed(type_name: str) -> Mapping[Role, str]:
    """Return the columns that an evaluator can't do without; none for one that isn't known."""
    signature = evaluator_signature(type_name) if is_dotted(type_name) else None
    if signature is None:
        return ROLES_NEEDED.get(type_name, {})
    needed: dict[Role, str] = {}
    for name in signature.required:
        for role, wanted in ARGUMENT_ROLES.get(name, {}).items():
            needed[role] = wanted if needed.get(role) != "exactly one" else "exactly one"
    return needed
