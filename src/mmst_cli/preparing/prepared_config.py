"""A config's data and model, loaded and checked against one another, with a word on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmst_cli.config.rules_mining import fills_by_mining
from mmst_cli.config.schema import Config, Layout, Modality, OnBadRow
from mmst_cli.model.load_model import check_loadable, model_label
from mmst_cli.model.model_media import media_key, random_crop_warning
from mmst_cli.model.precision import Runtime, choose_runtime
from mmst_cli.model.prompts import TASKS
from mmst_cli.preparing.prepared_model import PreparedModel, declared_dims, prepare_model
from mmst_cli.retrieval.data_card import Rows, data_card, held_modalities
from mmst_cli.retrieval.judgements import prepare_judgements
from mmst_cli.retrieval.retrieval_set import RetrievalSet
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.rows.skipping import drop_refused_rows
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.refused_inputs import refused_of_many

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Prepared:
    """Everything that stands before work begins."""

    model: SentenceTransformer
    runtime: Runtime
    rows: dict[str, Rows]
    bad_rows: BadRows


def prepare_config(
    config: Config,
    terminal: Terminal,
    datasets: Sequence[str],
    bad_rows: BadRows | None = None,
    check: Callable[[Mapping[str, Rows]], object] | None = None,
) -> Prepared:
    """Load and check data and model. Nothing is written.

    Args:
        config: a config that the rules passed.
        terminal: where to say what was chosen.
        datasets: names of the datasets to load.
        bad_rows: takes the rows that are left out because they can't be read.
        check: raises where rows aren't what they are for, before the model is loaded.

    Raises:
        MmstError: the first thing that doesn't fit.
    """
    bad_rows = bad_rows or BadRows.of(config.datasets, terminal)
    runtime = choose_runtime(config.training)
    check_loadable(config.model, runtime.device, runtime.precision)
    rows = load_rows(config, datasets, bad_rows, terminal)
    if check is not None:
        check(rows)
    prepared = prepare_model(
        config.model, runtime, rows, prompts=config.prompts, dims=declared_dims(config), seed=config.seed
    )
    rows = {key: _without_refused(config, key, data, prepared.model, bad_rows) for key, data in rows.items()}
    warning = random_crop_warning(prepared.model, config.media, f"{media_key('max_seconds')}:")
    if warning and Modality.audio in held_modalities(rows.values()):
        terminal.warn(warning)
    _say_model(config, prepared, terminal)
    return Prepared(prepared.model, runtime, rows, bad_rows)


def load_rows(config: Config, datasets: Sequence[str], bad_rows: BadRows, terminal: Terminal) -> dict[str, Rows]:
    """Load the rows of datasets, checked as far as they can be without a model, and say what they are.

    Raises:
        MmstError: the first thing that doesn't fit.
    """
    rows = {key: _prepare_data(config, key, bad_rows) for key in datasets}
    _say_data(config, rows, terminal)
    return rows


def _prepare_data(config: Config, key: str, bad_rows: BadRows) -> Rows:
    section = config.datasets[key]
    if section.layout is Layout.beir:
        return prepare_judgements(key, section, config.seed, config.media)
    return prepare_rows(key, section, config.seed, config.media, bad_rows, drop=_takes_all(config, key))


def _takes_all(config: Config, key: str) -> bool:
    """Whether a set is evaluated on or mined, which takes all its rows; a batch of training can do without one."""
    section = config.datasets[key]
    mined = section.mine is not None or fills_by_mining(section)
    return mined or any(evaluator.dataset == key for evaluator in config.evaluators.values())


def _without_refused(config: Config, key: str, data: Rows, model: SentenceTransformer, bad_rows: BadRows) -> Rows:
    """Leave out what the model's processor refuses, where that is left out and can't be while rows are drawn."""
    skips = config.datasets[key].on_bad_row is OnBadRow.skip
    if not skips or not _takes_all(config, key) or not isinstance(data, RowSet) or data.is_stream:
        return data
    return drop_refused_rows(
        data, lambda column, inputs: refused_of_many(model, inputs, TASKS.get(column.role)), bad_rows
    )


def _say_data(config: Config, rows: dict[str, Rows], terminal: Terminal) -> None:
    for entry in data_card(config, rows):
        terminal.say(f"data: {entry['name']}: {entry['rows']} from {entry['source']}: {entry['columns']}")
    for key, data in rows.items():
        for note in data.notes if isinstance(data, RetrievalSet) else ():
            terminal.say(f"data: {key}: {note}")


def _say_model(config: Config, prepared: PreparedModel, terminal: Terminal) -> None:
    model = prepared.model
    frozen, parameters = prepared.frozen
    terminal.say(
        f"model: {model_label(config.model)}: {parameters / 1e6:.2f}M parameters in "
        f"{str(model.dtype).removeprefix('torch.')} on {model.device}, {model.get_embedding_dimension()} dimensions"
    )
    if config.model.frozen:
        terminal.say(f"model: frozen: {frozen / 1e6:.2f}M of {parameters / 1e6:.2f}M parameters")
    if prepared.attention is not None:
        terminal.say(f"attention: {prepared.attention.implementation}: {prepared.attention.reason}")
