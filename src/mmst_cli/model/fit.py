"""A model against the data, losses and evaluators of a config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mmst_cli.config.rules_loss import loss_keys, loss_layers
from mmst_cli.config.schema import Config, Modality, Role
from mmst_cli.model.model_checks import check_dims, check_modalities, check_pixel_bounds
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.rows.columns import Column

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def check_fit(config: Config, model: SentenceTransformer, rows: Mapping[str, Rows]) -> None:
    """Check dimensions, modalities and pixel bounds; the weights need not be there.

    Raises:
        ModelError: the model doesn't have or take what is declared; the message begins with the key.
    """
    dims: dict[str, list[int]] = {"matryoshka_dims": config.matryoshka_dims}
    for key in {"loss": None, **dict.fromkeys(loss_keys(config).values())}:
        for index, layer in enumerate(loss_layers(config, key)):
            dims[f"{key}.{index}.args.matryoshka_dims"] = layer.args.get("matryoshka_dims", [])
    for name, evaluator in config.evaluators.items():
        dims[f"evaluators.{name}.dims"] = evaluator.dims
    check_dims(model, dims)
    for key, data in rows.items():
        check_columns(model, key, data.columns)
    check_pixel_bounds(model, config.model.processor)


def check_columns(model: SentenceTransformer, key: str, columns: Iterable[Column]) -> None:
    """Check that the model takes what columns of a dataset are declared to hold.

    Of cells that are mappings of several modalities only reading tells what is in them.

    Raises:
        ModelError: it doesn't; the message begins with the key.
    """
    told = [c for c in columns if c.role is not Role.label and (c.parts or c.modality is not Modality.mixed)]
    check_modalities(model, {_place(key, column): _kind(column) for column in told})


def _place(key: str, column: Column) -> str:
    kind = "parts" if column.parts else "message" if column.message else "modality"
    return f"datasets.{key}.columns.{column.name}.{kind}"


def _kind(column: Column) -> str | tuple[str, ...]:
    return tuple(map(str, column.modalities)) if column.parts else str(column.modality)
