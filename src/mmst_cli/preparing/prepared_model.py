"""A model loaded, or built without weights, the readers of its inputs told what it wants, and all of it checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mmst_cli.config.rules_loss import used_losses
from mmst_cli.config.schema import Config, Modality, ModelConfig, Role
from mmst_cli.errors import ModelError
from mmst_cli.media.reading import Reader
from mmst_cli.model.adapter_layers import check_adapter_fits
from mmst_cli.model.attention import AttentionChoice
from mmst_cli.model.large_images import shrink_large_images
from mmst_cli.model.load_model import load_model, model_label
from mmst_cli.model.model_changes import freeze
from mmst_cli.model.model_checks import check_dims, check_modalities, check_pixel_bounds
from mmst_cli.model.model_media import fit_media, media_key
from mmst_cli.model.patch_embedding import multiply_patches
from mmst_cli.model.precision import Runtime
from mmst_cli.model.prompts import TASKS, set_prompts
from mmst_cli.model.weightless import load_without_weights
from mmst_cli.preparing.model_probe import Kind, check_embeds
from mmst_cli.retrieval.data_card import Rows, readers_of
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.vectors.forward_pass import Task

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class PreparedModel:
    """A model that was seen to fit what it is asked for."""

    model: SentenceTransformer
    attention: AttentionChoice | None
    """None without weights."""
    frozen: tuple[int, int]
    """How many parameters training leaves as they are, and how many there are."""


def prepare_model(
    config: ModelConfig,
    runtime: Runtime | None,
    rows: Mapping[str, Rows] | None = None,
    *,
    readers: Iterable[Reader] = (),
    prompts: Mapping[str, str] | None = None,
    dims: Mapping[str, Iterable[int]] | None = None,
    seed: int = 42,
    key_of: Callable[[str], str] = media_key,
) -> PreparedModel:
    """Load a model, tell the readers of its inputs what it wants, and check that it can do what is asked.

    Args:
        config: the ``model`` section.
        runtime: where it will run, and in which precision; None builds it without reading a weight.
        rows: dataset to the rows it will be given; their readers are told what the model wants.
        readers: of inputs that are no rows of a dataset; told likewise.
        prompts: role to prompt.
        dims: dotted key to the embedding dimensions it names.
        seed: of weights that no checkpoint has.
        key_of: what a setting of ``media`` is called in messages.

    Raises:
        ConfigError: a role that has no prompt.
        ModelError: the model isn't there, doesn't fit together, or doesn't have or take what is declared; the message
            begins with the key.
    """
    rows, attention = rows or {}, None
    if runtime is None:
        model = load_without_weights(config)
    else:
        model, attention = load_model(config, runtime.device, runtime.precision, seed=seed)
    set_patches(model, config)
    set_prompts(model, prompts or {})
    readers = [*readers, *(reader for data in rows.values() for reader in readers_of(data))]
    fit_media(model, readers, key_of)
    check_dims(model, dims or {})
    for key, data in rows.items():
        check_columns(model, key, data.columns)
    check_pixel_bounds(model, config.processor)
    if runtime is not None:
        shrink_large_images(model, readers)
        check_embeds(model, _probed(rows), runtime.precision)
    frozen = freeze(model, config.frozen)
    if config.adapter is not None:
        check_adapter_fits(model, config)
    return PreparedModel(model, attention, frozen)


def set_patches(model: SentenceTransformer, config: ModelConfig, key: str = "model") -> None:
    """Let a model multiply patches where its section, of that dotted key, says so.

    Raises:
        ModelError: it has none.
    """
    if config.linear_patches and not multiply_patches(model):
        raise ModelError(
            f"{key}.linear_patches: true, but {model_label(config)} has no patch embedding that is a convolution over"
            " whole patches. Remove it."
        )


def declared_dims(config: Config) -> dict[str, list[int]]:
    """Return dotted key to the embedding dimensions it names, of a whole config."""
    dims: dict[str, list[int]] = {"matryoshka_dims": config.matryoshka_dims}
    for key, layers in {"loss": config.loss, **used_losses(config)}.items():
        for index, layer in enumerate(layers):
            dims[f"{key}.{index}.args.matryoshka_dims"] = layer.args.get("matryoshka_dims", [])
    for name, evaluator in config.evaluators.items():
        dims[f"evaluators.{name}.dims"] = evaluator.dims
    return dims


def check_columns(model: SentenceTransformer, key: str, columns: Iterable[Column]) -> None:
    """Check that the model takes what columns of a dataset are declared to hold.

    Of cells that are mappings of several modalities only reading tells what is in them.

    Raises:
        ModelError: it doesn't; the message begins with the key.
    """
    check_modalities(model, {_key_of_column(key, column): _kind(column) for column in _told(columns)})


def with_own_reader(rows: RowSet) -> RowSet:
    """Return rows with a reader of their own, for a model that may want other inputs than the one they are read for."""
    reader = copy(rows.reader)
    reader.shrink = reader.seen = reader.prepared = None
    return replace(rows, reader=reader)


def _told(columns: Iterable[Column]) -> list[Column]:
    """Return the columns of inputs of which the config tells what they hold."""
    return [c for c in columns if c.role is not Role.label and (c.parts or c.modality is not Modality.mixed)]


def _key_of_column(key: str, column: Column) -> str:
    kind = "parts" if column.parts else "message" if column.message else "modality"
    return f"datasets.{key}.columns.{column.name}.{kind}"


def _probed(rows: Mapping[str, Rows]) -> Iterator[tuple[str, Kind, Task]]:
    """Yield the keys of columns whose kind is told, with what a probe of each is embedded as."""
    for name, data in rows.items():
        for column in _told(data.columns):
            yield _key_of_column(name, column), _kind(column), TASKS[column.role]


def _kind(column: Column) -> str | tuple[str, ...]:
    return tuple(map(str, column.modalities)) if column.parts else str(column.modality)
