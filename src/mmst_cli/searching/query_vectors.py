"""Queries embedded by the model that made the collection's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.config.schema import Dtype, ModelConfig
from mmst_cli.errors import DataError, ModelError, WorkError, visible
from mmst_cli.inputs.media_options import in_options
from mmst_cli.media.reading import Reader
from mmst_cli.model.load_model import find_model
from mmst_cli.model.model_identity import weights_identity
from mmst_cli.model.model_parts import taken_by, takes
from mmst_cli.model.precision import Runtime
from mmst_cli.model.precision_of_run import encoding_runtime
from mmst_cli.model.prompts import check_prompt_name
from mmst_cli.preparing.prepared_model import prepare_model
from mmst_cli.searching.queries import Query, read_query
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.forward_pass import how_to_encode
from mmst_cli.vectors.found_sizes import DEFAULT
from mmst_cli.vectors.input_stream import encode_stream
from mmst_cli.vectors.quantise import shorten
from mmst_cli.vectors.refused_inputs import RefusedInputError
from mmst_cli.vectors.vector_folder import MANIFEST, RECORD, VectorFolder, damaged

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def find_query_model(folder: VectorFolder, given: str | None, terminal: Terminal) -> tuple[str, str | None]:
    """Return name and revision of the model that made the vectors, seen to be what it was; no weight is loaded.

    Args:
        folder: the vectors.
        given: where the model is now; where it was then if left out.
        terminal: where to say what can't be seen.

    Raises:
        ModelError: it is gone, or another one.
    """
    made_by, weights = str(folder.manifest.get("model") or ""), folder.weights
    name = given or made_by
    if not name:
        raise ModelError(f"{folder.path}: {MANIFEST} doesn't name the model that made the vectors. Add --model.")
    if not weights:  # a model of the hub
        if name != made_by:
            terminal.warn(f"--model: whether {name} is {made_by}, which made the vectors, can't be seen.")
            return name, None
        return name, folder.manifest.get("commit") or folder.manifest.get("revision")
    if given is None and not name.startswith("builtin:") and not Path(name).expanduser().is_dir():
        raise ModelError(
            f"{folder.path}: made by the model in {name}, which is not there any more."
            " Name the place where it is now by --model."
        )
    if weights_identity(name, weights) != weights:
        raise ModelError(
            f"{folder.path}: the weights of {name} are not those that made the vectors, with which alone queries can be"
            " compared. Name a place of these by --model, or encode again with --overwrite."
        )
    return name, None


def load_query_model(
    folder: VectorFolder, model: tuple[str, str | None], reader: Reader, terminal: Terminal
) -> tuple[SentenceTransformer, Runtime]:
    """Load the model as `mmst encode` had it; the reader is told what it wants.

    Raises:
        DataError: the record of the vectors is damaged.
        ModelError: it can't be loaded, or gives vectors of another size.
    """
    name, revision = model
    held = folder.job.get("dtype", "auto")
    if held not in list(Dtype):
        raise DataError(damaged(folder.path / RECORD, f"it says that the weights were held in {held}"))
    runtime, dtype = encoding_runtime(find_model(name), Dtype(held), terminal)
    config = ModelConfig(name_or_path=name, revision=revision, dtype=dtype)
    prepared = prepare_model(config, runtime, readers=[reader], key_of=lambda key: in_options(f"media.{key}"))
    loaded = prepared.model
    dim = _cut_to(folder)
    if dim is not None:
        loaded.truncate_dim = dim
    width = loaded.get_embedding_dimension()
    if width != folder.form.dimension:
        raise ModelError(
            f"{name}: its vectors have {width} dimensions, and those of {folder.path} {folder.form.dimension}."
        )
    return loaded, runtime


def embed_queries(
    folder: VectorFolder,
    queries: Sequence[Query],
    model: SentenceTransformer,
    runtime: Runtime,
    prompt_name: str | None,
) -> torch.Tensor:
    """Return float32 vectors of shape (queries, dimension of the folder), as the collection's were made but as queries.

    Raises:
        DataError: a query can't be read, or the processor refuses it.
        ModelError: the model doesn't take a query, or has no such prompt.
        WorkError: there is no room for a query, or the model gives no finite vector for it.
    """
    check_prompt_name(model, prompt_name, "the model")
    items = [query.item for query in queries if query.item is not None]
    for item in items:
        kind = tuple(map(str, item.modalities))
        if not takes(model, kind if len(kind) > 1 else kind[0]):
            found = f"{' with '.join(kind)}, but the model takes {taken_by(model)}"
            raise ModelError(f"QUERY: {visible(item.id)}: {found}.")
    task, named = how_to_encode(prompt_name or "query")
    options: dict[str, Any] = {"task": task, "prompt_name": named, "precision": runtime.precision}
    size = folder.job.get("batch_size")  # of a folder of an earlier version nothing says, and auto is no number
    stream = encode_stream(
        model, map(read_query, items), batch_size=size if isinstance(size, int) else DEFAULT, **options
    )
    try:
        vectors = torch.cat(list(stream)).cpu()
    except RefusedInputError as error:
        raise DataError(f"QUERY: {visible(items[error.place].id)}: {in_options(error.reason)}") from error
    broken = (~vectors.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if broken:
        raise WorkError(f"QUERY: {visible(items[broken[0]].id)}: the model gives no finite vector for it.")
    return shorten(vectors, _cut_to(folder))


def _cut_to(folder: VectorFolder) -> int | None:
    """Return the dimension that the vectors were truncated to and normalised at; None if not."""
    if "dim" in folder.job:
        return None if folder.job["dim"] is None else int(folder.job["dim"])
    dimension = folder.form.dimension
    return dimension if dimension < folder.manifest.get("model_dimension", dimension) else None
