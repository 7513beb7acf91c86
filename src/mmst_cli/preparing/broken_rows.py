"""What is said, beside the fault, of a row that ends a command: that such rows may be left out instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmst_cli import processes
from mmst_cli.config.rules_loss import loss_keys
from mmst_cli.config.schema import Config, Layout, OnBadRow
from mmst_cli.errors import ColumnError, DataError, MmstError, WorkError


@contextmanager
def told_of_skipping(config: Config) -> Iterator[None]:
    """Add to what is said of a broken row how to go on without it, where its dataset can do so.

    Raises:
        DataError, WorkError: as they come, with one more sentence.
    """
    try:
        yield
    except (DataError, WorkError) as error:
        if isinstance(error, ColumnError) or not (sentence := _way_on(config, error)):
            raise
        kind = WorkError if isinstance(error, WorkError) else DataError
        raise kind(f"{str(error).rstrip('.')}. {sentence}") from error


def _way_on(config: Config, error: MmstError) -> str | None:
    """Return how to go on without a row; None for errors about no row, or of sets that need all of theirs."""
    if isinstance(error, WorkError) and not isinstance(error.__cause__, DataError):
        return None  # it isn't the row that is broken
    for name, section in config.datasets.items():
        of_row = (f"datasets.{name}, row ", f"datasets.{name}, a row of the stream, ")
        if not str(error).startswith(of_row):
            continue
        if section.layout is not Layout.rows or section.on_bad_row is OnBadRow.skip:
            return None
        if processes.count() > 1 and name in loss_keys(config):  # which can't leave any out
            return "`mmst check CONFIG --all --write-clean FILE` writes the rows that can be read, to train on."
        return f"With datasets.{name}.on_bad_row=skip such rows are left out, told of and listed."
    return None
