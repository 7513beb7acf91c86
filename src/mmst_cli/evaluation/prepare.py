"""A model, its data and its evaluators, checked against one another: what training and evaluation share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmst_cli.config.loss_stacks import loss_keys, loss_layers
from mmst_cli.config.schema import Config, DatasetConfig, Layout, MediaConfig, Modality, Role
from mmst_cli.data.columns import Column, RowSet
from mmst_cli.data.judgements import prepare_judgements
from mmst_cli.data.preparing import prepare_rows
from mmst_cli.data.retrieval import RetrievalSet
from mmst_cli.evaluation.build import EvaluatorSuite, build_evaluator
from mmst_cli.media.backend import decoder_sentence
from mmst_cli.media.reading import Reader
from mmst_cli.model.checks import check_dims, check_modalities, check_pixel_bounds
from mmst_cli.model.freezing import freeze
from mmst_cli.model.load import check_loadable, load_model, model_label
from mmst_cli.model.media import fit_media, random_crop_warning
from mmst_cli.model.precision import check_precision, declared_precision, default_device
from mmst_cli.model.prompts import set_prompts
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
    rows = {key: _prepare_data(key, config.datasets[key], seed, config.media) for key in datasets}
    for entry in data_card(config, rows):
        terminal.say(f"data: {entry['name']}: {entry['rows']} from {entry['source']}: {entry['columns']}")
    for key, data in rows.items():
        for note in data.notes if isinstance(data, RetrievalSet) else ():
            terminal.say(f"data: {key}: {note}")
    _say_decoder(rows, terminal)
    model, attention = load_model(config.model, device, precision, seed=seed)
    set_prompts(model, config.prompts)
    fit_media(model, [reader for data in rows.values() for reader in _readers(data)])
    if Modality.audio in _held(rows) and (warning := random_crop_warning(model, config.media, "media.max_seconds:")):
        terminal.warn(warning)
    _check_fit(config, model, rows)
    _say_model(config, model, terminal)
    if config.model.frozen:
        frozen, of = freeze(model, config.model.frozen)
        terminal.say(f"model: frozen: {frozen / 1e6:.2f}M of {of / 1e6:.2f}M parameters")
    terminal.say(f"attention: {attention.implementation}: {attention.reason}")
    evaluators = {
        name: build_evaluator(name, section, rows[section.dataset], precision)
        for name, section in config.evaluators.items()
    }
    return Prepared(model, rows, EvaluatorSuite(evaluators, precision, model_label(config.model)))


def data_card(config: Config, rows: Mapping[str, Rows]) -> list[dict[str, str]]:
    """Return what each dataset is, in words: name, used for, source, rows, columns."""
    card = []
    for key, data in rows.items():
        section = config.datasets[key]
        if isinstance(data, RowSet):
            size = "a stream of rows" if data.is_stream else f"{len(data):,} rows"
        else:
            size = f"{len(data.query_ids):,} queries, {len(data.corpus_ids):,} documents"
        card.append(
            {
                "name": key,
                "used for": str(section.use),
                "source": section.path + (f" / {section.name}" if section.name else "") + f" [{section.split}]",
                "rows": size,
                "columns": ", ".join(f"{c.name} ({c.role}, {'+'.join(c.modalities)})" for c in data.columns),
            }
        )
    return card


def _prepare_data(key: str, section: DatasetConfig, seed: int, media: MediaConfig) -> Rows:
    prepare_section = prepare_rows if section.layout is Layout.rows else prepare_judgements
    return prepare_section(key, section, seed, media)


def _readers(data: Rows) -> list[Reader]:
    return [data.reader] if isinstance(data, RowSet) else [data.query_rows.reader, data.corpus_rows.reader]


def _held(rows: Mapping[str, Rows]) -> set[Modality]:
    return {modality for data in rows.values() for column in data.columns for modality in column.modalities}


def _say_decoder(rows: Mapping[str, Rows], terminal: Terminal) -> None:
    if _held(rows) & {Modality.audio, Modality.video} and (sentence := decoder_sentence()):
        terminal.say(f"media: {sentence}")


def _say_model(config: Config, model: SentenceTransformer, terminal: Terminal) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    terminal.say(
        f"model: {model_label(config.model)}: {parameters / 1e6:.2f}M parameters in "
        f"{str(model.dtype).removeprefix('torch.')} on {model.device}, {model.get_embedding_dimension()} dimensions"
    )


def _check_fit(config: Config, model: SentenceTransformer, rows: dict[str, Rows]) -> None:
    dims: dict[str, list[int]] = {"matryoshka_dims": config.matryoshka_dims}
    for key in {"loss": None, **dict.fromkeys(loss_keys(config).values())}:
        for index, layer in enumerate(loss_layers(config, key)):
            dims[f"{key}.{index}.args.matryoshka_dims"] = layer.args.get("matryoshka_dims", [])
    for name, evaluator in config.evaluators.items():
        dims[f"evaluators.{name}.dims"] = evaluator.dims
    check_dims(model, dims)
    declared = [(key, column) for key, data in rows.items() for column in data.columns]
    check_modalities(model, {_place(key, c): _kind(c) for key, c in declared if c.role is not Role.label})
    check_pixel_bounds(model, config.model.processor)


def _place(key: str, column: Column) -> str:
    kind = "parts" if column.parts else "message" if column.message else "modality"
    return f"datasets.{key}.columns.{column.name}.{kind}"


def _kind(column: Column) -> str | tuple[str, ...]:
    return tuple(map(str, column.modalities)) if column.parts else str(column.modality)
