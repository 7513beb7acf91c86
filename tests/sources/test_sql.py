import json
import sys

import datasets
import pytest
from PIL import Image

from mmst_cli.errors import DataError
from mmst_cli.sources.tables import load_rows

ROWS = [
    {
        "query": f"page {number}",
        "number": number,
        "lang": ["en", "de"][number % 2],
        "page": {"bytes": bytes([number]), "path": None},
        "negatives": [f"not {number}"] * (number % 3),
    }
    for number in range(12)
]
QUERY = "select query, page as image, negatives from rows where lang = 'en' order by number desc"


@pytest.fixture
def load(section):
    return lambda path, seed=0, **fields: load_rows("train", section(path, **fields), seed)


@pytest.fixture
def fault(load, parquet_file):
    def of(sql, path=parquet_file, **fields):
        with pytest.raises(DataError) as caught:
            load(path, sql=sql, **fields)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return of


@pytest.fixture
def parquet_file(tmp_path):
    datasets.Dataset.from_list(ROWS).to_parquet(str(tmp_path / "rows.parquet"))
    return tmp_path / "rows.parquet"


@pytest.fixture
def saved(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_structs_and_lists_survive_in_the_order_of_the_query(parquet_file, saved, load):
    expected = [
        {"query": row["query"], "image": row["page"], "negatives": row["negatives"]}
        for row in reversed(ROWS)
        if row["lang"] == "en"
    ]
    for path in (parquet_file, saved, parquet_file.parent / "*.parquet"):
        assert load(path, sql=QUERY).to_list() == expected, path


def test_files_of_text_have_the_types_they_have_without_a_query(tmp_path, load):
    rows = [{"day": "2024-01-01", "id": "AB0C", "n": 1.5}, {"day": "2024-02-01", "id": "007", "n": 2.0}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    datasets.Dataset.from_list(rows).to_csv(str(tmp_path / "rows.csv"))
    for name in ("rows.jsonl", "rows.csv"):
        assert load(tmp_path / name, sql="select * from rows").to_list() == load(tmp_path / name).to_list(), name
    assert load(tmp_path / "rows.jsonl", sql="select id, n from rows where id = '007'").to_list() == [
        {"id": "007", "n": 2.0}
    ]


def test_several_files_in_their_order(tmp_path, load):
    for start in (6, 0):
        part = datasets.Dataset.from_list(ROWS[start : start + 6])
        part.to_parquet(str(tmp_path / f"part-{start}.parquet"))
    assert load(tmp_path / "part-*.parquet", sql="select number from rows")["number"] == list(range(12))


@pytest.mark.parametrize("name", ["it's.parquet", "rows[1].parquet", "a*b.parquet"])
def test_a_file_may_have_any_name(name, parquet_file, load):
    renamed = parquet_file.rename(parquet_file.with_name(name))
    assert len(load(renamed, sql="select number from rows")) == 12


def test_a_link_to_a_file(parquet_file, tmp_path, load):
    (tmp_path / "link.parquet").symlink_to(parquet_file)
    assert len(load(tmp_path / "link.parquet", sql="select number from rows")) == 12


def test_images_of_a_dataset(tmp_path, load):
    images = [Image.new("RGB", (8 + number, 8)) for number in range(3)]
    features = datasets.Features({"page": datasets.Image(), "n": datasets.Value("int64")})
    table = datasets.Dataset.from_dict({"page": images, "n": [0, 1, 2]}, features=features)
    table.save_to_disk(tmp_path / "saved")
    rows = load(tmp_path / "saved", sql="select page as image from rows where n > 0")
    assert [row["image"].width for row in rows.cast_column("image", datasets.Image())] == [9, 10]


def test_numbers_are_numbers(parquet_file, load):
    rows = load(parquet_file, sql="select sum(number) as total, 1.5 as score, 'a'::enum('a', 'b') as word from rows")
    assert rows.to_list() == [{"total": 66, "score": 1.5, "word": "a"}]
    assert str(rows.features["total"].dtype) == "int64"
    huge = load(parquet_file, sql="select 9223372036854775807::hugeint * 10 as total")
    assert huge["total"] == [9223372036854775807 * 10.0]


def test_the_split_comes_before_the_query_and_max_rows_after(parquet_file, saved, load):
    for path in (parquet_file, saved):
        assert load(path, split="train[:4]", sql="select number from rows")["number"] == [0, 1, 2, 3]
        chosen = load(path, sql="select number from rows where number > 5", max_rows=3)["number"]
        assert len(chosen) == 3
        assert set(chosen) <= set(range(6, 12))


def test_chance_comes_from_the_seed(parquet_file, load):
    for sql in ("select number from rows order by random()", "select number from rows using sample 5"):
        assert load(parquet_file, 1, sql=sql).to_list() == load(parquet_file, 1, sql=sql).to_list()
    drawn = [load(parquet_file, seed, sql="select random() as x")["x"] for seed in (1, 2)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("copy (select 1) to 'out.csv'", "COPY"),
        ("attach 'other.db'", "ATTACH"),
        ("create table a as select 1", "CREATE"),
        ("insert into rows values (1)", "INSERT"),
        ("set threads = 4", "SET"),
        ("install httpfs", "LOAD"),
        ("export database 'out'", "EXPORT"),
        ("select 1; drop view rows", "DROP"),
        ("delete from rows", "DELETE"),
    ],
)
def test_whatever_is_no_select(sql, kind, fault, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for path in (tmp_path / "rows.parquet", saved):
        assert fault(sql, path) == f"datasets.train.sql: only a select is allowed, found {kind}."
    assert sorted(tmp_path.iterdir()) == before


def test_two_queries(fault):
    assert fault("select 1; select 2") == "datasets.train.sql: only one select is allowed, found 2 statements."


@pytest.mark.parametrize("sql", ["", "  ", "-- nothing"])
def test_no_query(sql, fault):
    assert fault(sql).startswith("datasets.train.sql: no query. Write one such as: ")


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('secret.csv')",
        "select * from 'secret.csv'",
        "select * from read_text('/etc/passwd')",
        "select * from glob('*')",
        "select (select content from read_text('secret.csv')) from rows",
        "select * from read_parquet('https://example.com/a.parquet')",
    ],
)
def test_other_files_cannot_be_read(sql, fault, saved, tmp_path, monkeypatch):
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "rows.parquet", saved):
        message = fault(sql, path)
        assert message.startswith("datasets.train.sql: ")
        assert "disabled" in message


def test_variables_of_the_program_are_no_tables(fault):
    assert "Table with name statements does not exist" in fault("select * from statements")


def test_a_wrong_query(fault):
    assert fault("selec 1") == 'datasets.train.sql: Parser Error: syntax error at or near "selec"'
    assert fault("select quer from rows").startswith('datasets.train.sql: Binder Error: Referenced column "quer"')
    assert fault("select quer from rows").endswith('Candidate bindings: "query", "number", "page"')
    assert 'Did you mean "rows"?' in fault("select * from row")
    assert fault("select error('boom')") == "datasets.train.sql: Invalid Input Error: boom"


def test_a_query_that_finds_nothing(fault):
    assert fault("select * from rows where number > 99") == "datasets.train.sql: the query gives no rows."


def test_two_columns_of_one_name(fault):
    assert "two columns are called number" in fault("select number, number from rows")


def test_a_type_that_a_dataset_cannot_hold(fault):
    message = fault("select number, interval 1 day as span from rows")
    assert message.startswith("datasets.train.sql: column span is of type month_day_nano_interval")


def test_a_broken_file_is_no_fault_of_the_query(tmp_path, fault):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    assert fault("select 1", tmp_path / "bad.parquet").startswith(
        f"datasets.train.path: {tmp_path / 'bad.parquet'} can't be read: "
    )


def test_without_duckdb(fault, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert fault("select 1") == (
        "datasets.train.sql: queries are run by DuckDB: `pip install 'mmst-cli[sql]'` installs it."
    )
