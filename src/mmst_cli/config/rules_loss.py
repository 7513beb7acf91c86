"""Which loss goes with which dataset, and rules for the loss stack and for Matryoshka dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmst_cli.config.arguments import check_arguments
from mmst_cli.config.rules_loss_models import check_loss_models, model_arguments
from mmst_cli.config.rules_loss_stacks import check_stack
from mmst_cli.config.rules_masking import MASK, check_masking
from mmst_cli.config.schema import AUTO, Config, DatasetConfig, LossConfig, Use
from mmst_cli.config.signatures import loss_names, loss_signature
from mmst_cli.config.user_classes import is_dotted
from mmst_cli.errors import ConfigError, did_you_mean

IN_BATCH = ("MultipleNegativesRanking", "MultipleNegativesSymmetric", "GISTEmbed")
"""Parts of the names of losses that compare an anchor with the documents of all other rows of a batch."""
# What these learn from are the other rows of a batch; a row that is there twice is its own negative.
_CONTRASTIVE = (*IN_BATCH, "MegaBatchMargin")
LOSSES_OF_CLASSES = (
    *("BatchAllTripletLoss", "BatchHardTripletLoss", "BatchHardSoftMarginTripletLoss", "BatchSemiHardTripletLoss"),
)
"""The losses that find their triplets among the rows of a batch, by the classes that these are labelled with."""
BY_CLASS = "group_by_label"
DUPLICATE_FREE = ("no_duplicates", "no_duplicates_hashed")


def training_datasets(config: Config) -> dict[str, DatasetConfig]:
    """Return the `use: train` datasets, in the order of the file."""
    return {name: dataset for name, dataset in config.datasets.items() if dataset.use is Use.train}


def loss_datasets(config: Config) -> dict[str, DatasetConfig]:
    """Return the `use: eval` datasets that no evaluator reads: on those the loss is computed."""
    read = {evaluator.dataset for evaluator in config.evaluators.values()}
    return {n: d for n, d in config.datasets.items() if d.use is Use.eval and n not in read}


def loss_keys(config: Config) -> dict[str, str]:
    """Return dataset to the dotted key of its loss, for every dataset that a loss is computed on.

    That is its own loss, else the one of the file, else, for an evaluation dataset, that of the first
    training set. The key stays that of the file where there is none at all.
    """
    training = training_datasets(config)
    keys = {name: f"datasets.{name}.loss" if dataset.loss else "loss" for name, dataset in training.items()}
    fallback = "loss" if config.loss or not keys else next(iter(keys.values()))
    for name, dataset in loss_datasets(config).items():
        keys[name] = f"datasets.{name}.loss" if dataset.loss else fallback
    return keys


def loss_layers(config: Config, key: str) -> list[LossConfig]:
    """Return the layers of a loss, innermost first, by a key of :func:`loss_keys`."""
    return config.loss if key == "loss" else config.datasets[key.split(".", 1)[1].rpartition(".")[0]].loss


def used_losses(config: Config) -> dict[str, list[LossConfig]]:
    """Return the layers of each loss that is computed on a dataset, by its dotted key."""
    return {key: loss_layers(config, key) for key in loss_keys(config).values()}


def check_losses(config: Config, *, import_own: bool = True) -> list[str]:
    """Return the faults of ``loss``, the file's and the datasets': types, places, arguments, dimensions.

    Args:
        config: the whole config.
        import_own: whether a user's own classes are imported and checked; what computes no loss needs none.
    """
    computed = loss_keys(config)
    stacks = {"loss": config.loss} | {f"datasets.{n}.loss": d.loss for n, d in config.datasets.items() if d.loss}
    faults = []
    for key, layers in stacks.items():
        for index, loss in enumerate(layers):
            if import_own or not is_dotted(loss.type):
                faults += _check_loss(loss, f"{key}.{index}", index, config.matryoshka_dims)
        faults += check_stack(layers, key)
    for name, dataset in config.datasets.items():
        if dataset.loss and name not in computed:
            faults.append(
                f"datasets.{name}.loss: an evaluator reads {name}, so no loss is computed on it. Leave it out."
            )
    return faults


def check_dimensions(dims: Any, key: str) -> list[str]:
    """Return the faults of a list of embedding dimensions: positive whole numbers, each once."""
    if not isinstance(dims, list):
        return []  # a wrong type is told by the check of arguments
    wrong = [dim for dim in dims if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1]
    repeated = sorted({dim for dim in dims if dim not in wrong and dims.count(dim) > 1}, reverse=True)
    faults = []
    if wrong:
        faults.append(f"{key}: found {_listed(wrong)}; a dimension is a whole number above 0.")
    if repeated:
        faults.append(f"{key}: {_listed(repeated)} stands there more than once. Name each dimension once.")
    return faults


def warn_of_losses(config: Config) -> list[str]:
    """Return warnings: in-batch negatives with duplicates, dimensions measured but not trained."""
    keys = loss_keys(config)
    stacks = [loss_layers(config, keys[name]) for name in training_datasets(config)]
    warnings = []
    contrastive = [s[0].type for s in stacks if s and any(part in s[0].type for part in _CONTRASTIVE)]
    streams = any(dataset.streaming for dataset in config.datasets.values())
    sampler = config.training.get("batch_sampler", "batch_sampler")
    if contrastive and not streams and sampler not in DUPLICATE_FREE:
        warnings.append(
            f"training.batch_sampler: {contrastive[0]} takes the other rows of a batch for negatives, so a row"
            " that is there twice is its own negative. Set it to no_duplicates."
        )
    of_classes = [s[0].type for s in stacks if s and s[0].type in LOSSES_OF_CLASSES]
    if of_classes and not streams and sampler != BY_CLASS:
        warnings.append(
            f"training.batch_sampler: {of_classes[0]} compares rows of one class in a batch, and one that is drawn at"
            f" random may have none. Set it to {BY_CLASS}."
        )
    layers = [layer for stack in stacks for layer in stack]
    trained = list(dict.fromkeys(dim for layer in layers for dim in layer.args.get("matryoshka_dims", [])))
    for name, evaluator in config.evaluators.items():
        untrained = [dim for dim in evaluator.dims if dim not in trained]
        if trained and untrained:
            warnings.append(
                f"evaluators.{name}.dims: {_listed(untrained)} will be measured, but not trained;"
                f" {_listed(trained)} will be."
            )
    return warnings


def _check_loss(loss: LossConfig, key: str, index: int, dims: list[int]) -> list[str]:
    if not loss_names():
        return []
    try:
        signature = loss_signature(loss.type)
    except ConfigError as error:
        return [f"{key}.type: {error}"]
    if signature is None:
        return [f"{key}.type: sentence-transformers has no loss {loss.type}.{_suggest(loss.type)}"]
    faults = _check_place(loss.type, "loss" in signature.parameters, key, index)
    args, automatic = loss.args, loss.args.get("mini_batch_size") == AUTO
    if automatic and "mini_batch_size" in signature.parameters:
        args = {**loss.args, "mini_batch_size": 1}
        faults += _check_automatic(loss, f"{key}.args.mini_batch_size")
    sections = [*model_arguments(signature), *([] if is_dotted(loss.type) else [MASK])]
    faults += check_arguments(loss.type, args, signature, ("model", "loss"), f"{key}.args", sections)
    faults += [] if is_dotted(loss.type) else check_masking(loss, f"{key}.args") + _check_sizes(args, f"{key}.args")
    faults += check_loss_models(loss, signature, f"{key}.args")
    own_dims = loss.args.get("matryoshka_dims")
    if own_dims != dims:  # else their faults are told where they stand, at the top of the file
        faults += check_dimensions(own_dims, f"{key}.args.matryoshka_dims")
    if own_dims == []:
        faults.append(f"{key}.args.matryoshka_dims: the list is empty. Name the dimensions to train.")
    weights = loss.args.get("matryoshka_weights")
    if isinstance(weights, list) and isinstance(own_dims, list) and len(weights) != len(own_dims):
        faults.append(
            f"{key}.args.matryoshka_weights: found {len(weights)} weights for {len(own_dims)} dimensions."
            " Give one for each."
        )
    return faults


def _check_automatic(loss: LossConfig, key: str) -> list[str]:
    if is_dotted(loss.type):
        return [f"{key}: {AUTO} is for the cached losses of sentence-transformers. Write a number for your own."]
    if loss.args.get("mini_batch_num_tokens") is not None:
        return [f"{key}: with mini_batch_num_tokens it does nothing. Leave one of the two out."]
    return []


def _check_sizes(args: Mapping[str, Any], key: str) -> list[str]:
    """Return a fault where mini-batches have no rows: the library would say that a range has no step, or nothing."""
    sizes = {name: args.get(name) for name in ("mini_batch_size", "mini_batch_num_tokens")}
    return [f"{key}.{n}: found {size}; it is 1 or more." for n, size in sizes.items() if type(size) is int and size < 1]


def _check_place(type_name: str, wraps: bool, key: str, index: int) -> list[str]:
    if index == 0 and wraps:
        return [
            f"{key}.type: {type_name} wraps another loss, so it can't come first. Put the loss it wraps"
            " above it, such as MultipleNegativesRankingLoss."
        ]
    if index > 0 and not wraps:
        return [
            f"{key}.type: {type_name} can't wrap the loss above it. Only the first entry is a loss of"
            " its own; those after it are wrappers such as MatryoshkaLoss."
        ]
    return []


def _suggest(name: str) -> str:
    return did_you_mean(name, loss_names()) or f" There are {', '.join(loss_names())}."


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)
