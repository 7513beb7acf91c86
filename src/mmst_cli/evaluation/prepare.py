"""A model, its data and its evaluators, checked against one another: what training and evaluation share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmst_cli.config.schema import Config, DatasetConfig, Layout, Role
from mmst_cli.data.columns import READABLE, RowSet, prepare_rows
from mmst_cli.data.judgements import prepare_judgements
from mmst_cli.data.retrieval import RetrievalSet
from mmst_cli.errors import DataError
from mmst_cli.evaluation.build import EvaluatorSuite, build_evaluator
from mmst_cli.model.checks import check_dims, check_modalities, check_pixel_bounds
from mmst_cli.model.load import check_loadable, load_model
from mmst_cli.model.precision import check_precision, declared_precision, default_device
from mmst_cli.terminal import Terminal

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


Rows = RowSet | RetrievalSet


@dataclass(frozen=True)
class Prepared:
    """Everything that stands before work begins."""

    model: SentenceTransformer
    rows: dict[str, Rows]
    suite: EvaluatorSuite


def prepare(config: Config, terminal: Terminal, datasets: list[str]) -> Prepared:
    """Load and check data, model and evaluators. Nothing is written.

    Args:
        config: a config that the rules passed.
        terminal: where to say what was chosen.
        datasets: names of the datasets to load.

    Raises:
        MmstError: the first thing that doesn't fit.
    """
    device = default_device(config.training)
    check_precision(config.training, device)
    precision = declared_precision(config.training)
    check_loadable(config.model, device, precision)
    seed = int(config.training.get("seed", 42))
    rows = {key: _prepare_data(key, config.datasets[key], seed) for key in datasets}
    for entry in data_card(config, rows):
        terminal.say(f"data: {entry['name']}: {entry['rows']} from {entry['source']}: {entry['columns']}")
    for key, data in rows.items():
        for note in data.notes if isinstance(data, RetrievalSet) else ():
            terminal.say(f"data: {key}: {note}")
    model, attention = load_model(config.model, device, precision)
    _check_fit(config, model, rows)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    terminal.say(
        f"model: {config.model.name_or_path}: {parameters / 1e6:.2f}M parameters in "
        f"{str(model.dtype).removeprefix('torch.')} on {model.device}, {model.get_embedding_dimension()} dimensions"
    )
    terminal.say(f"attention: {attention.implementation}: {attention.reason}")
    evaluators = {
        name: build_evaluator(name, section, rows[section.dataset], precision)
        for name, section in config.evaluators.items()
    }
    return Prepared(model, rows, EvaluatorSuite(evaluators, precision, config.model.name_or_path))


def data_card(config: Config, rows: Mapping[str, Rows]) -> list[dict[str, str]]:
    """Return what each dataset is, in words: name, used for, source, rows, columns."""
    card = []
    for key, data in rows.items():
        section = config.datasets[key]
        if isinstance(data, RowSet):
            size = f"{len(data):,} rows"
        else:
            size = f"{len(data.query_ids):,} queries, {len(data.corpus_ids):,} documents"
        card.append(
            {
                "name": key,
                "used for": str(section.use),
                "source": section.path + (f" / {section.name}" if section.name else "") + f" [{section.split}]",
                "rows": size,
                "columns": ", ".join(f"{c.name} ({c.role}, {c.modality})" for c in data.columns),
            }
        )
    return card


def _prepare_data(key: str, section: DatasetConfig, seed: int) -> Rows:
    return prepare_rows(key, section, seed) if section.layout is Layout.rows else prepare_judgements(key, section, seed)


def _check_fit(config: Config, model: SentenceTransformer, rows: dict[str, Rows]) -> None:
    dims: dict[str, list[int]] = {"matryoshka_dims": config.matryoshka_dims}
    for index, layer in enumerate(config.loss):
        dims[f"loss.{index}.args.matryoshka_dims"] = layer.args.get("matryoshka_dims", [])
    for name, evaluator in config.evaluators.items():
        dims[f"evaluators.{name}.dims"] = evaluator.dims
    check_dims(model, dims)
    declared = {
        f"datasets.{key}.columns.{column.name}.modality": str(column.modality)
        for key, row_set in rows.items()
        for column in row_set.columns
        if column.role is not Role.label
    }
    check_modalities(model, declared)
    for key, modality in declared.items():
        if modality not in READABLE:
            raise DataError(f"{key}: {modality}: datasets hold {' and '.join(READABLE)} columns in this version.")
    check_pixel_bounds(model, config.model.processor)
