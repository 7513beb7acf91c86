"""The arguments of commands that take a config's training set, or rows whose columns the command line names."""

from __future__ import annotations

from typing import Annotated

import typer

COLUMN = "COLUMN[:MODALITY]"

Target = Annotated[str, typer.Argument(metavar="CONFIG|DATA", help="A config, or a file, folder or hub id of rows.")]
Dataset = Annotated[str | None, typer.Option(help="The training set of the config, if it has several.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id given by --model.")]
Anchor = Annotated[str | None, typer.Option(metavar=COLUMN, help="Of DATA: the column of anchors, such as query.")]
Positive = Annotated[
    str | None, typer.Option(metavar=COLUMN, help="Of DATA: the column of positives, such as page:image.")
]
Name = Annotated[str | None, typer.Option(help="Of DATA: the configuration of a hub or built-in dataset.")]
Split = Annotated[str | None, typer.Option(help="Of DATA: the split; train if left out.")]
Sql = Annotated[str | None, typer.Option(help="Of DATA: a query over its rows, such as: select query, page from rows.")]
