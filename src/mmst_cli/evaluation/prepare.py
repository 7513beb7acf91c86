"""A model, its data and its evaluators, checked against one another: what training and evaluation share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmst_cli.config.schema import Config, Layout, Modality
from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite, build_evaluator
from mmst_cli.model.fit import check_fit
from mmst_cli.model.load_model import check_loadable, load_model, model_label
from mmst_cli.model.model_changes import freeze
from mmst_cli.model.model_media import fit_media, random_crop_warning
from mmst_cli.model.precision import check_precision, declared_precision, default_device
from mmst_cli.model.prompts import set_prompts
from mmst_cli.retrieval.data_card import Rows, data_card, held_modalities, readers_of
from mmst_cli.retrieval.judgements import prepare_judgements
from mmst_cli.retrieval.retrieval_set import RetrievalSet
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.terminal import Terminal

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Prepared:
    """Everything that stands before work begins."""

    model: SentenceTransformer
    rows: dict[str, Rows]
    suite: EvaluatorSuite
    bad_rows: BadRows


def prepare(config: Config, terminal: Terminal, datasets: list[str], bad_rows: BadRows | None = None) -> Prepared:
    """Load and check data, model and evaluators. Nothing is written.

    Args:
        config: a config that the rules passed.
        terminal: where to say what was chosen.
        datasets: names of the datasets to load.
        bad_rows: takes the rows that are left out because they can't be read.

    Raises:
        MmstError: the first thing that doesn't fit.
    """
    bad_rows = bad_rows or BadRows.of(config.datasets, terminal)
    device = default_device(config.training)
    check_precision(config.training, device)
    precision = declared_precision(config.training)
    check_loadable(config.model, device, precision)
    seed = int(config.training.get("seed", 42))
    rows = {key: _prepare_data(config, key, seed, bad_rows) for key in datasets}
    for entry in data_card(config, rows):
        terminal.say(f"data: {entry['name']}: {entry['rows']} from {entry['source']}: {entry['columns']}")
    for key, data in rows.items():
        for note in data.notes if isinstance(data, RetrievalSet) else ():
            terminal.say(f"data: {key}: {note}")
    model, attention = load_model(config.model, device, precision, seed=seed)
    set_prompts(model, config.prompts)
    fit_media(model, [reader for data in rows.values() for reader in readers_of(data)])
    warning = random_crop_warning(model, config.media, "media.max_seconds:")
    if warning and Modality.audio in held_modalities(rows.values()):
        terminal.warn(warning)
    check_fit(config, model, rows)
    _say_model(config, model, terminal)
    if config.model.frozen:
        frozen, of = freeze(model, config.model.frozen)
        terminal.say(f"model: frozen: {frozen / 1e6:.2f}M of {of / 1e6:.2f}M parameters")
    terminal.say(f"attention: {attention.implementation}: {attention.reason}")
    evaluators = {
        name: build_evaluator(name, section, rows[section.dataset], precision)
        for name, section in config.evaluators.items()
    }
    suite = EvaluatorSuite(evaluators, precision, model_label(config.model))
    return Prepared(model, rows, suite, bad_rows)


def _prepare_data(config: Config, key: str, seed: int, bad_rows: BadRows) -> Rows:
    section = config.datasets[key]
    if section.layout is Layout.beir:
        return prepare_judgements(key, section, seed, config.media)
    # A batch of a training set can do without a row. Evaluators and mining take all rows there are.
    drop = section.mine is not None or any(evaluator.dataset == key for evaluator in config.evaluators.values())
    return prepare_rows(key, section, seed, config.media, bad_rows, drop=drop)


def _say_model(config: Config, model: SentenceTransformer, terminal: Terminal) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    terminal.say(
        f"model: {model_label(config.model)}: {parameters / 1e6:.2f}M parameters in "
        f"{str(model.dtype).removeprefix('torch.')} on {model.device}, {model.get_embedding_dimension()} dimensions"
    )
