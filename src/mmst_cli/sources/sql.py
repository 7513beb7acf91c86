"""A query over the table `rows`, run by DuckDB, that can read nothing else and write nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.errors import DataError, visible

if TYPE_CHECKING:
    import duckdb
    import pyarrow
    from datasets import Dataset

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # so that groups and samples come out in the same order every time
    "python_enable_replacements": False,  # or the variables of this program would be tables
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def query_rows(at: str, query: str, rows: Dataset, seed: int = 0) -> Dataset:
    """Return what ``query`` selects from a dataset, in the query's order.

    Args:
        at: the key of the section, for messages.
        query: one select from the table `rows`.
        rows: that table; media are structs of `bytes` and `path`.
        seed: what `random()` begins with.

    Raises:
        DataError: duckdb isn't installed; the query is wrong, does anything but select, or gives no rows.
    """
    duckdb = _check_query(at, query)
    table = _with_single_floats(rows.with_format("arrow")[:])
    with _connect() as connection:
        try:
            connection.register("rows", table)
        except duckdb.Error as error:
            raise DataError(f"{at}.sql: DuckDB can't take a column of these rows: {_first_sentence(error)}") from error
        return _run(at, query, connection, seed)


def query_parquet(at: str, config: DatasetConfig, paths: Sequence[str], seed: int = 0) -> Dataset:
    """Return what ``config.sql`` selects from files, of which no more is read than it needs.

    Args:
        at: the key of the section, for messages.
        config: the section.
        paths: Parquet files, without the wildcards of a pattern.
        seed: what `random()` begins with.

    Raises:
        DataError: as :func:`query_rows`; or the files can't be read.
    """
    query = config.sql or ""
    duckdb = _check_query(at, query)
    listed = "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"
    with _connect() as connection:
        try:
            connection.execute(f"set allowed_paths = {listed}")
            connection.execute(f"create view rows as select * from read_parquet({listed})")
        except duckdb.Error as error:
            raise DataError(f"{at}.path: {visible(config.path)} can't be read: {_first_sentence(error)}") from error
        return _run(at, query, connection, seed)


def _check_query(at: str, query: str) -> Any:
    """Return the module `duckdb` if the query is one select."""
    try:
        import duckdb
    except ImportError as error:
        raise DataError(f"{at}.sql: queries are run by DuckDB: `pip install 'mmst-cli[sql]'` installs it.") from error
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise DataError(f"{at}.sql: {_first_sentence(error)}") from error
    kinds = [statement.type.name for statement in statements]
    if not kinds:
        raise DataError(f"{at}.sql: no query. Write one such as: select query, page as image from rows.")
    if other := next((kind for kind in kinds if kind != "SELECT"), None):
        raise DataError(f"{at}.sql: only a select is allowed, found {other}.")
    if len(kinds) > 1:
        raise DataError(f"{at}.sql: only one select is allowed, found {len(kinds)} statements.")
    return duckdb


def _connect() -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(config=_SETTINGS)


def _run(at: str, query: str, connection: duckdb.DuckDBPyConnection, seed: int) -> Dataset:
    import duckdb
    from datasets import Dataset

    try:
        connection.execute("select setseed(?)", [random.Random(seed).uniform(-1, 1)])
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        found = connection.sql(query)
        table = _with_json(found.to_arrow_table(), [str(kind) == "JSON" for kind in found.types])
    except duckdb.PermissionException as error:
        raise DataError(f"{at}.sql: a query reads the table rows and no files: {_first_sentence(error)}") from error
    except duckdb.Error as error:
        raise DataError(f"{at}.sql: {_first_sentence(error)}") from error
    if table.num_rows == 0:
        raise DataError(f"{at}.sql: the query gives no rows.")
    return Dataset(_simplify(at, table))


def _with_single_floats(table: pyarrow.Table) -> pyarrow.Table:
    """Return the table with floats of 16 bits, which DuckDB doesn't have, as those of 32."""
    import pyarrow

    def single(kind: pyarrow.DataType) -> pyarrow.DataType:
        if pyarrow.types.is_float16(kind):
            return pyarrow.float32()
        if pyarrow.types.is_fixed_size_list(kind):
            return pyarrow.list_(single(kind.value_type), kind.list_size)
        return pyarrow.list_(single(kind.value_type)) if pyarrow.types.is_list(kind) else kind

    for index, field in enumerate(table.schema):
        if (kind := single(field.type)) != field.type:
            table = table.set_column(index, field.name, table.column(index).cast(kind))
    return table


def _with_json(table: pyarrow.Table, is_json: Sequence[bool]) -> pyarrow.Table:
    """Return the table with its columns of JSON called so: as texts they would have their quotation marks in them."""
    import pyarrow

    for index in (index for index, whether in enumerate(is_json) if whether):
        column = table.column(index)
        chunks = [pyarrow.ExtensionArray.from_storage(pyarrow.json_(), chunk) for chunk in column.chunks]
        json = pyarrow.chunked_array(chunks, pyarrow.json_())
        table = table.set_column(index, table.column_names[index], json)
    return table


def _simplify(at: str, table: pyarrow.Table) -> pyarrow.Table:
    """Return the table in types that `datasets` has: enums as text, decimals (1.5, or a sum) as numbers.

    Raises:
        DataError: two columns of one name, or a type that it has nothing for.
    """
    from mmst_cli.sources.arrow_types import cast_column, known_type

    names = table.column_names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{at}.sql: two columns are called {twice}. Name one of them with `as`.")
    for index, field in enumerate(table.schema):
        if (kind := known_type(field.type)) is None:
            raise DataError(
                f"{at}.sql: column {field.name} is of type {field.type}, which a dataset can't hold. Convert it in the"
                f" query, such as {field.name}::varchar."
            )
        table = table.set_column(index, field.name, cast_column(table.column(index), kind))
    return table.replace_schema_metadata(None)


def _first_sentence(error: BaseException) -> str:
    """Return what DuckDB says before it draws the place in the query, on one line."""
    return " ".join(str(error).partition("\n\n")[0].split())
