"""What a config says of a run's sizes, as a plan counts them: mini-batches, vectors, inputs of evaluators."""

from __future__ import annotations

from collections.abc import Mapping

from mmst_cli.config.automatic_sizes import SIZE, default_size, size_key
from mmst_cli.config.rules_loss import loss_keys, loss_layers, training_datasets
from mmst_cli.config.rules_loss_stacks import is_cached
from mmst_cli.config.schema import AUTO, Config
from mmst_cli.evaluation.evaluator_suite import Evaluator
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.planning.planned_run import MiniBatches
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.rows.columns import RowSet


def inputs_of_evaluators(config: Config, evaluators: Mapping[str, Evaluator], loaded: Mapping[str, Rows]) -> int | None:
    """Return how many inputs all evaluators encode; None where one is the user's own, which doesn't say."""
    total = 0
    for name, evaluator in evaluators.items():
        if isinstance(evaluator, MatryoshkaRetrievalEvaluator):
            total += evaluator.inputs
            continue
        rows = loaded[config.evaluators[name].dataset]
        if evaluator.is_own or not isinstance(rows, RowSet):
            return None
        total += len(rows) * len(rows.inputs)
    return total


def mini_batches_of(config: Config) -> MiniBatches:
    """Return how many rows of a batch go through the model at a time, by the loss of the first training set."""
    name = next(iter(training_datasets(config)))
    key = loss_keys(config)[name]
    layer = loss_layers(config, key)[0]
    if not is_cached(layer.type, layer.args):
        return MiniBatches(False, None, key="training.per_device_train_batch_size")
    if (tokens := layer.args.get("mini_batch_num_tokens")) is not None:
        return MiniBatches(True, None, int(tokens), f"{key}.0.args.mini_batch_num_tokens")
    size = layer.args.get(SIZE)
    if size == AUTO:
        return MiniBatches(True, None, key=size_key(key), fits=True)
    return MiniBatches(True, int(default_size(config, key) if size is None else size), key=size_key(key))


def dims_of(config: Config) -> int:
    """Return at how many sizes of vectors the loss is computed."""
    layers = [layer for key in loss_keys(config).values() for layer in loss_layers(config, key)]
    return max([1, *(len(layer.args.get("matryoshka_dims", ())) for layer in layers)])


def evaluation_batch(config: Config) -> int:
    """Return the most inputs that an evaluator encodes at a time."""
    return max([1, *(int(section.args.get("batch_size", 32)) for section in config.evaluators.values())])
