"""What reads files in place of the library's own readers: texts stay what they are, and odd columns do no harm."""

from __future__ import annotations

from typing import Any

from datasets import DatasetBuilder, load_dataset_builder
from datasets.packaged_modules.arrow.arrow import Arrow
from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder
from datasets.packaged_modules.csv.csv import Csv
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from datasets.packaged_modules.json.json import Json
from datasets.packaged_modules.parquet.parquet import Parquet
from datasets.packaged_modules.pdffolder.pdffolder import PdfFolder
from datasets.packaged_modules.videofolder.videofolder import VideoFolder
from datasets.packaged_modules.webdataset.webdataset import WebDataset

from mmst_cli.sources.archives import Archive
from mmst_cli.sources.arrow_types import KnownArrow, KnownParquet
from mmst_cli.sources.declared_columns import DeclaredColumns
from mmst_cli.sources.text_tables import TextMetadata, TextTable
from mmst_cli.storage import digest


class Images(TextMetadata, ImageFolder):  # type: ignore[misc]
    """A folder of images."""


class Sounds(TextMetadata, AudioFolder):  # type: ignore[misc]
    """A folder of sounds."""


class Clips(TextMetadata, VideoFolder):  # type: ignore[misc]
    """A folder of clips."""


class Documents(TextMetadata, PdfFolder):  # type: ignore[misc]
    """A folder of PDF files."""


VERSION = "read-1"
"""In the path of the cache: it tells what another version of a reader made of the same files."""
_READERS: dict[type[DatasetBuilder], type[DatasetBuilder]] = {
    WebDataset: Archive,
    Parquet: KnownParquet,
    Arrow: KnownArrow,
    Csv: TextTable,
    Json: TextTable,
    ImageFolder: Images,
    AudioFolder: Sounds,
    VideoFolder: Clips,
    PdfFolder: Documents,
}


def make_builder(name: str, arguments: dict[str, Any], declared: DeclaredColumns) -> DatasetBuilder:
    """Return the builder that `datasets` has for a source, with readers of ours in place of its own.

    Args:
        name: a hub id, a folder, or the name of a builder of `datasets`.
        arguments: of `datasets.load_dataset_builder`.
        declared: the columns that are read.
    """
    builder = load_dataset_builder(name, **arguments)
    # Of a folder or a hub dataset the class is one that was made for it, of the module of the library's reader.
    replaced = next((kind for kind in _READERS if type(builder).__module__ == kind.__module__), None)
    if replaced is None:
        return builder
    config, attributes = builder.config, dict[str, Any]()
    usual = type(config)(name=config.name, data_files=config.data_files)
    settings = {name: value for name, value in vars(config).items() if value != vars(usual)[name]}
    reader = _READERS[replaced]
    if replaced is not WebDataset:
        attributes["declared"] = declared
    if type(builder) is not replaced and replaced in (Parquet, Arrow, Csv, Json):
        attributes["documented"] = builder.info.features or {}
    if replaced in (Csv, Json):
        separator = settings.pop("sep", ",").replace("\\t", "\t") if replaced is Csv else ""
        attributes["delimiter"] = separator
        if settings.keys() - {"features"} or len(separator) > 1:  # the dataset says how it is to be read
            if replaced is Json:
                return builder
            texts = dict.fromkeys(declared.texts, str)
            reader, settings = Csv, {**settings, "sep": separator, "converters": texts | (config.converters or {})}
        else:
            settings = {}
    # Of a hub dataset its commit names the files, and offline the library looks into the cache by its own id.
    of_hub = builder.repo_id is not None
    ours = reader(
        dataset_name=builder.dataset_name,
        hash=f"{VERSION}-{digest(attributes, builder.hash if of_hub else None)}",
        config_id=builder.config_id if of_hub else None,
        config_name=config.name,
        data_files=config.data_files,
        base_path=builder.base_path,
        repo_id=builder.repo_id,
        token=builder.token,
        storage_options=builder.storage_options,
        **settings,
    )
    for name, value in attributes.items():
        setattr(ours, name, value)
    return ours
