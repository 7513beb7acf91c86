"""Lists of negatives with too few in some rows: repeated, drawn from other rows, or an error that says how."""

import numpy as np
import pytest

from mmst_cli.config.schema import ColumnConfig, Fill, Modality, OnBadRow, Role
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.retrieval.data_card import data_card
from mmst_cli.rows.bad_rows import BadRow
from mmst_cli.rows.filling import filled_in_words, filled_lists, missing_places, put_mined
from mmst_cli.rows.row_keys import row_keys, rows_identity
from mmst_cli.rows.shapes import add_negatives
from mmst_cli.rows.skipping import try_read
from mmst_cli.rows.stored_inputs import stored_inputs

ROLES = {"query": ColumnConfig(role=Role.anchor), "doc": ColumnConfig(role=Role.positive)}
RAGGED = {
    "query": ["a", "b", "c", "a", "d"],
    "doc": ["pa", "pb", "pc", "pa2", "pd"],
    "hard": [["n1", "n2", "n3"], ["n4"], ["n5", "pb"], ["n1"], ["n6", "n7", "n8"]],
}


def columns(fill=None, take=3, **more):
    return {**ROLES, "hard": ColumnConfig(role=Role.negative, take=take, fill=fill), **more}


def texts(rows):
    return [[value["text"] for value in rows.read(row).values()] for row in rows.rows]


def negatives(rows):
    return [row[2:] for row in texts(rows)]


@pytest.fixture
def ragged(parquet, prepare):
    """A function that prepares rows with lists of one to three negatives."""
    return lambda fill, take=3, seed=0, more=None, **values: prepare(
        parquet(**{**RAGGED, **values}), columns(fill, take, **(more or {})), seed=seed
    )


def test_without_fill_the_error_names_it(ragged):
    with pytest.raises(DataError, match=r"row 1, column hard: a list of 1 negatives, and take is 3\. .* fill: sample"):
        ragged(None)


def test_repeat_takes_the_rows_own_in_turn(ragged):
    rows = ragged(Fill.repeat)
    assert negatives(rows) == [["n1", "n2", "n3"], ["n4"] * 3, ["n5", "pb", "n5"], ["n1"] * 3, ["n6", "n7", "n8"]]
    assert [column.name for column in rows.columns] == ["query", "doc", "hard_0", "hard_1", "hard_2"]
    with pytest.raises(
        DataError, match=r"row 1, column hard: no negative, so there is none to repeat. Set fill: sample"
    ):
        ragged(Fill.repeat, hard=[["n1"], [], ["n5"], ["n1"], ["n6"]])


def test_a_row_with_none_to_repeat_is_left_out_where_broken_rows_are(parquet, prepare):
    path = parquet(**{**RAGGED, "hard": [["n1"], [], ["n5"], ["n1"], ["n6"]]})
    rows = prepare(path, columns(Fill.repeat, 2), on_bad_row=OnBadRow.skip)
    found = [try_read(rows, row) for row in rows.rows]
    assert [isinstance(row, BadRow) for row in found] == [False, True, False, False, False]


def test_sample_keeps_the_rows_own_and_draws_no_right_answer(ragged):
    seen = set()
    for seed in range(20):
        rows = ragged(Fill.sample, seed=seed)
        assert [row[: len(own)] for row, own in zip(negatives(rows), RAGGED["hard"], strict=True)] == RAGGED["hard"]
        for query, _, *found in texts(rows):
            answers = {"a": {"pa", "pa2"}, "b": {"pb"}, "c": {"pc"}, "d": {"pd"}}[query]
            assert not answers & set(found) and len(set(found)) == 3
        seen |= {found for row in negatives(rows)[1:4] for found in row}
    assert {"pc", "pd", "n6", "n2"} <= seen  # positives and negatives of others
    assert negatives(ragged(Fill.sample, seed=3)) == negatives(ragged(Fill.sample, seed=3))
    assert negatives(ragged(Fill.sample, seed=3)) != negatives(ragged(Fill.sample, seed=4))


def test_a_row_without_any_is_filled_too(ragged):
    rows = ragged(Fill.sample, hard=[["n1", "n2", "n3"], [], None, ["n1"], ["n6", "n7", "n8"]])
    assert all(len(set(found)) == 3 for found in negatives(rows))
    assert filled_in_words(rows) == ["8 of 15 in hard filled (sample)"]


def test_too_few_documents_are_told(ragged):
    with pytest.raises(DataError, match=r"row 0, column hard: 3 negatives, and other rows have too few .* Lower take"):
        ragged(Fill.sample, take=40)


def test_nothing_changes_where_nothing_is_missing(ragged):
    whole = ragged(Fill.sample, take=1)
    assert whole.columns == ragged(None, take=1).columns and whole.stored is None


def test_the_data_card_says_how_many(ragged, section, parquet):
    from mmst_cli.config.schema import Config, ModelConfig

    config = Config(
        model=ModelConfig(name_or_path="x"), datasets={"train": section(parquet(**RAGGED), columns(Fill.sample))}
    )
    (entry,) = data_card(config, {"train": ragged(Fill.sample)})
    assert entry["rows"] == "5 rows, 5 of 15 in hard filled (sample)"


@pytest.mark.parametrize("fill", [Fill.repeat, Fill.sample])
def test_keys_inputs_and_identity_are_those_of_what_is_read(ragged, fill):
    rows = ragged(fill, seed=1)
    keys = row_keys(rows)[:]
    for column in rows.columns[2:]:
        values = list(rows.values(column))
        assert [one.read() for one in stored_inputs(rows, column)] == values == keys[column.name]
        assert rows.value_at(column, 3) == values[3]
    assert rows_identity(rows) != rows_identity(ragged(fill, seed=1, query=["a", "b", "c", "a", "e"]))


def test_with_lists_of_positives_each_row_is_filled(ragged):
    answers = [["pa", "pa3"], ["pb"], ["pc"], ["pa2"], ["pd", "pe"]]
    rows = ragged(Fill.sample, doc=answers)
    found = texts(rows)
    assert [row[1] for row in found] == [answer for each in answers for answer in each]
    assert all(not {"a": {"pa", "pa2", "pa3"}}.get(row[0], {row[1]}) & set(row[2:]) for row in found)
    assert any(
        set(row[2:]) & {"pe", "pa3", "pd"}
        for seed in range(10)
        for row in texts(ragged(Fill.sample, doc=answers, seed=seed))
    )


def test_no_positive_of_any_column_is_drawn(ragged):
    second = {"also": ColumnConfig(role=Role.positive)}
    also = ["qa", "n6", "n7", "n8", "n3"]
    for seed in range(10):
        rows = ragged(Fill.sample, seed=seed, more=second, also=also)
        found = {row[0] + row[1]: row[3:] for row in texts(rows)}
        assert "n6" not in found["bpb"] and "n7" not in found["cpc"] and not {"qa", "n8"} & set(found["apa2"])


def test_images_are_filled_with_images_that_are_others(parquet, prepare, png):
    red, blue, green, pink = (png(colour) for colour in ("red", "blue", "green", "pink"))
    path = parquet(query=["a", "b", "c"], page=[red, blue, red], hard=[[green, pink], [pink], [green]])
    image = {"modality": Modality.image}
    wanted = {
        "query": ROLES["query"],
        "page": ColumnConfig(role=Role.positive, **image),
        "hard": ColumnConfig(role=Role.negative, take=2, fill=Fill.sample, **image),
    }
    for seed in range(6):
        rows = prepare(path, wanted, seed=seed)
        pixels = [[value.getpixel((1, 1)) for value in list(rows.read(row).values())[1:]] for row in rows.rows]
        assert all(len(set(row)) == 3 for row in pixels)


def test_mined_ones_take_the_missing_places_alone(ragged):
    rows = ragged(Fill.mine)
    (listed,) = filled_lists(rows, Fill.mine).items()
    assert missing_places(rows, *listed).sum(axis=1).tolist() == [0, 2, 1, 2, 0]
    filled = put_mined(rows, np.array([1, 2, 4]), np.array([[4, 2], [0, 4], [0, 1]]))
    assert texts(filled) == [
        ["a", "pa", "n1", "n2", "n3"],
        ["b", "pb", "n4", "pd", "pc"],
        ["c", "pc", "n5", "pb", "pa"],
        ["d", "pd", "n6", "n7", "n8"],  # the fourth row got none
    ]


def test_mining_beside_filled_lists_keeps_both(ragged):
    rows = add_negatives(ragged(Fill.repeat, take=2), np.array([1, 3]), np.array([[4], [2]]))
    assert texts(rows) == [["b", "pb", "n4", "n4", "pd"], ["a", "pa2", "n1", "n1", "pc"]]


def test_what_cannot_be_filled_is_refused(parquet, prepare):
    single = parquet(**{**RAGGED, "hard": list("vwxyz")})
    with pytest.raises(ConfigError, match=r"columns\.hard\.take: the cells are no lists"):
        prepare(single, columns(Fill.sample))


def test_broken_entries_are_not_drawn(parquet, prepare):
    hard = [["n1", None, "n3"], ["n4"], ["n5", "pb"], ["n1"], ["n6", "n7", "n8"]]
    path = parquet(**{**RAGGED, "hard": hard})
    for seed in range(8):
        rows = prepare(path, columns(Fill.sample), seed=seed, on_bad_row=OnBadRow.skip)
        assert [None for row in list(rows.rows)[1:] for value in rows.read(row).values() if value["text"] is None] == []


def test_nothing_is_drawn_that_another_column_of_negatives_holds(parquet, prepare):
    values = {"query": ["a", "b"], "doc": ["pa", "pb"], "hard": [["n1"], ["n2"]], "other": ["n2", "n1"]}
    declared = columns(Fill.sample, take=2, other=ColumnConfig(role=Role.negative))
    for seed in range(5):
        assert negatives(prepare(parquet(**values), declared, seed=seed)) == [["n1", "pb", "n2"], ["n2", "pa", "n1"]]
