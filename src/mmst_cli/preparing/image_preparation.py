"""Images of datasets that say `prepare: true`, read and scaled once, before work begins, by all processors."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

from mmst_cli import __version__, processes
from mmst_cli.cached import PREPARED
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, DataError, WorkError
from mmst_cli.media.prepared_images import PreparedImages
from mmst_cli.media.reading import Reader
from mmst_cli.model.large_images import Shrinker, shrinker_of
from mmst_cli.model.model_parts import encoders_of, processor_part
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.storage import cache_folder, digest
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.data_workers import BeginWorker, leave_interruptions, said_of_killed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PART = 64  # rows whose images are kept in one file
LIMIT = "MMST_PREPARED_GB"
"""The environment's name for how much of the disk prepared images may take, in gigabytes."""
DEFAULT_LIMIT = 100.0
SPARED = 2 * 2**30  # bytes that stay free on the disk
GIGABYTE = 1e9
_LIBRARIES = ("transformers", "torch", "torchvision", "pillow")  # a last bit of an image may change with them

Part = tuple[RowSet, Column, range]


def prepare_images(config: Config, rows: Mapping[str, Rows], model: SentenceTransformer, terminal: Terminal) -> None:
    """Have the images of datasets that say so read and scaled as the model's processor scales them, once for all.

    They are kept in the cache, from where every later reading takes them: of this command and of others.

    Args:
        config: the config.
        rows: dataset to its rows; their readers are told.
        model: the model.
        terminal: where to show progress.

    Raises:
        ConfigError: the model's processor makes something else of a scaled image.
        WorkError: the system ended a process.
    """
    wanted = {name: data for name, data in rows.items() if _says_so(config, name)}
    sets = [one for data in wanted.values() for one in _sets_of(data)]
    if not sets:
        return
    shrinker = shrinker_of(model, least=0)
    if shrinker is None or not shrinker.is_exact():
        key = f"datasets.{next(iter(wanted))}.prepare"
        raise ConfigError(
            f"{key}: this model's processor makes something else of an image that was scaled before. Leave it out."
        )
    store = PreparedImages(_settings(model, fast_jpeg=config.media.fast_jpeg), config.media.dpi)
    for one in sets:
        _tell(one.reader, store, shrinker)
    parts = [
        (one, column, range(first, min(first + PART, len(one))))
        for one in sets
        for column in one.columns
        if column.may_hold_images
        for first in range(0, len(one), PART)
    ]
    _fill(store, parts, _most(), terminal)


def _says_so(config: Config, name: str) -> bool:
    return name in config.datasets and config.datasets[name].prepare


def _tell(reader: Reader, store: PreparedImages, shrinker: Shrinker) -> None:
    reader.prepared, reader.shrink = store, shrinker


def _sets_of(data: Rows) -> list[RowSet]:
    return [data] if isinstance(data, RowSet) else [data.query_rows, data.corpus_rows]


def _settings(model: SentenceTransformer, *, fast_jpeg: bool) -> str:
    """Return what names all that decides what is made of an image."""
    (encoder,) = encoders_of(model, "image")
    part = processor_part(encoder, "image")
    told = getattr(encoder, "processing_kwargs", {}).get("image", {})
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return digest(json.loads(part.to_json_string()), told, versions, fast_jpeg, __version__)


class _Parts(Dataset[Any]):  # type: ignore[misc]
    """Each part's images, made and kept by whoever asks for it."""

    def __init__(self, store: PreparedImages, parts: Sequence[Part]) -> None:
        self._store, self._parts = store, parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: int) -> int:
        """Return the bytes of the file that was written."""
        rows, column, numbers = self._parts[number]
        with self._store.collecting() as made:
            for row in numbers:
                try:
                    rows.value_at(column, row)
                except DataError:  # told where the row is drawn
                    continue
        return self._store.keep(made)


def _fill(store: PreparedImages, parts: Sequence[Part], most: float, terminal: Terminal) -> None:
    """Make what isn't kept yet, as far as there is room; what isn't used for longest makes room for it."""
    total = sum(len(numbers) for _, _, numbers in parts)
    with terminal.progress("preparing images", total, unit="rows") as progress:
        for (rows, _, numbers), written in zip(parts, _done(_Parts(store, parts)), strict=True):
            progress.advance(len(numbers))
            if written and not _make_room(store, most):
                terminal.warn(
                    f"datasets.{rows.key}.prepare: {store.folder.parent} is full ({LIMIT}={most / GIGABYTE:g}, and"
                    f" {SPARED >> 30} GiB of the disk stay free): the other images are read as they are."
                    " `mmst cache` shows what is there."
                )
                break
    store.open()


def _done(parts: _Parts) -> Iterator[int]:
    workers = min(processes.processors(), len(parts)) if sys.platform == "linux" else 0
    if len(parts) == 1 or workers == 1:
        workers = 0
    loader = DataLoader(
        parts,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=multiprocessing.get_context("fork") if workers else None,
        worker_init_fn=BeginWorker(None, leave_interruptions),
        generator=torch.Generator(),  # or the random state of a training would change
    )
    try:
        yield from loader
    except RuntimeError as error:
        said = said_of_killed(error, "prepares images", ". What is done is kept: run the command again.")
        if said is None:
            raise
        raise WorkError(said) from error


def _most() -> float:
    """Return how many bytes prepared images may take.

    Raises:
        ConfigError: the environment names no number.
    """
    told = os.environ.get(LIMIT, "")
    try:
        return float(told or DEFAULT_LIMIT) * GIGABYTE
    except ValueError:
        raise ConfigError(f"{LIMIT}={told}: set it to a number of gigabytes.") from None


def _make_room(store: PreparedImages, most: float) -> bool:
    """Say whether there is room for more, once files that others left were removed, the longest unused first."""
    files = sorted(_files(), key=lambda path: path.stat().st_mtime)
    held = sum(path.stat().st_size for path in files)
    others = [path for path in files if path.parent != store.folder]
    while held > most or shutil.disk_usage(store.folder).free < SPARED:
        if not others:
            return False
        oldest = others.pop(0)
        held -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)
    return True


def _files() -> Iterable[Any]:
    return (cache_folder() / PREPARED).glob("*/*.arrow")
