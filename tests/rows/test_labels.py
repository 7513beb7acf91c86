"""Labels that are lists: a teacher's scores and vectors, from whatever file, for the losses that take them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmst_cli.config.schema import ColumnConfig, LossConfig, OnBadRow, Role
from mmst_cli.errors import DataError
from mmst_cli.rows.bad_rows import BadRow
from mmst_cli.rows.labels import check_labels, check_widths
from mmst_cli.rows.skipping import try_read

SCORES = [[0.9, 0.1, 0.25], [1, 0, -2.5], [0.3, 0.2, 0.1]]
TEXTS = {"query": list("abc"), "doc": list("def"), "first": list("ghi"), "second": list("jkl")}
ROLES = {"query": "anchor", "doc": "positive", "first": "negative", "second": "negative"}
VECTORS = [[[1.0, 2.0], [3.0, 4.0]]] * 3


@pytest.fixture
def rows(tmp_path, prepare):
    """A function that writes rows with labels and prepares them."""

    def rows(labels, kind="parquet", without=(), array=None, on_bad_row=OnBadRow.error, **fields):
        path = tmp_path / f"rows.{kind}"
        table = pa.table({**TEXTS, "label": pa.array(labels) if array is None else array})
        if kind == "parquet":
            pq.write_table(table, path)
        elif kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        else:
            rows = [
                [*row, json.dumps(label).replace(" ", "")] for *row, label in zip(*TEXTS.values(), labels, strict=True)
            ]
            lines = [",".join([*row[:-1], f'"{row[-1]}"']) for row in rows]
            path.write_text("\n".join([",".join([*TEXTS, "label"]), *lines]) + "\n")
        roles = {name: ColumnConfig(role=Role(role)) for name, role in ROLES.items() if name not in without}
        return prepare(path, {**roles, "label": ColumnConfig(role=Role.label, **fields)}, on_bad_row=on_bad_row)

    return rows


def labels_of(rows):
    return [rows.read(row)["label"] for row in rows.rows]


def faults(rows, loss):
    return check_labels(rows, LossConfig(type=loss), "loss")


def test_nobody_is_told_to_take_none(rows):
    with pytest.raises(DataError, match=r"row 1, .* a list of 0, .* one of 3\. Give every row as many, or remove it\."):
        rows([SCORES[0], [], SCORES[2]])


@pytest.mark.parametrize("broken", [[0.9], [0.9, 0.1, 0.2, 0.3], [], None, [0.9, float("nan"), 0.1]])
def test_a_row_of_another_length_is_left_out_where_broken_rows_are(broken, rows):
    data = rows([broken, *SCORES[1:]], on_bad_row=OnBadRow.skip)
    found = [try_read(data, row) for row in data.rows]
    assert isinstance(found[0], BadRow) and found[0].row == 0
    assert [len(row["label"]) for row in found[1:]] == [3, 3]
    assert faults(data, "DistillKLDivLoss") == faults(rows(SCORES), "DistillKLDivLoss")  # whatever the first row has
    (width,) = check_widths(data, [LossConfig(type="MSELoss")], "loss", 8)
    assert "are vectors of 3" in width


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("labels", [SCORES, VECTORS])
def test_lists_come_as_float32_from_any_file(kind, labels, rows):
    found = labels_of(rows(labels, kind))
    assert [label.tolist() for label in found] == np.array(labels, dtype=np.float32).tolist()
    assert {label.dtype for label in found} == {np.dtype("float32")}


@pytest.mark.parametrize("kind", [pa.list_(pa.float16(), 3), pa.large_list(pa.float32()), pa.list_(pa.int8())])
def test_lists_of_any_number_type(kind, rows):
    whole = [[int(score) for score in scores] for scores in SCORES]
    values = [np.array(label, "f2") for label in whole] if pa.types.is_fixed_size_list(kind) else whole
    assert [label.tolist() for label in labels_of(rows(None, array=pa.array(values, kind)))] == whole


def test_take_uses_the_first_of_each(rows):
    longer = [[*scores, *[0.0] * number] for number, scores in enumerate(SCORES)]
    found = rows(longer, take=3)
    assert [label.tolist() for label in labels_of(found)] == np.array(SCORES, np.float32).tolist()
    assert faults(found, "DistillKLDivLoss") == []
    with pytest.raises(DataError, match=r"row 1, column label: the label is a list of 4, .* set take: 3"):
        rows(longer)


def test_take_of_numbers_is_refused(rows):
    (fault,) = faults(rows([0.1, 0.2, 0.3], without=("first", "second"), take=2), "CoSENTLoss")
    assert fault.startswith("datasets.train.columns.label.take: each label is a number")


@pytest.mark.parametrize(
    ("loss", "count", "without", "words"),
    [
        ("DistillKLDivLoss", 2, (), "a score for each document of the row, of which there are 3"),
        ("DistillKLDivLoss", 4, (), "of which there are 3. Set take to use fewer"),
        ("MarginMSELoss", 4, (), "or the positive's less each negative's, of which there are 3"),
        ("MarginMSELoss", 1, (), "of which there are 3"),
        ("DistillKLDivLoss", 3, (), ""),
        ("MarginMSELoss", 3, (), ""),
        ("MarginMSELoss", 2, (), ""),
        ("DistillKLDivLoss", 2, ("second",), ""),
    ],
)
def test_as_many_scores_as_the_row_has_documents(loss, count, without, words, rows):
    found = faults(rows([[0.5] * count] * 3, without=without), loss)
    assert [words in fault for fault in found] == [True] * bool(words)


def test_what_only_training_needs_is_not_asked_of_rows_that_are_evaluated_on(rows):
    alike = rows([1, 1, 1], without=("first", "second"))
    (fault,) = faults(alike, "CoSENTLoss")
    assert "learns from which of two rows has the higher label, and all are 1" in fault
    assert check_labels(alike, LossConfig(type="CoSENTLoss"), "loss", trains=False) == []


def test_one_vector_or_one_for_each_input(rows):
    (fault,) = faults(rows(VECTORS), "EmbedDistillLoss")
    assert "each label is 2 vectors, but EmbedDistillLoss takes one, or one for each of the 4 inputs" in fault
    assert faults(rows(VECTORS, without=("first", "second")), "MSELoss") == []


def test_vectors_of_one_label_that_differ_in_length_are_named_before_training(rows):
    with pytest.raises(DataError, match="row 2, column label: a vector of 1, and the first one has 2"):
        rows([*VECTORS[:2], [[1.0, 2.0], [3.0]]])
    with pytest.raises(DataError, match="row 2, column label: a vector of 0, and the first one has 2"):
        rows([*VECTORS[:2], [[1.0, 2.0], None]])


@pytest.mark.parametrize(
    ("dimension", "projection", "words"),
    [
        (2, None, ""),
        (8, 2, ""),
        (8, None, "missing. The labels of datasets.train are vectors of 2"),
        (8, 4, "Write 2."),
    ],
)
def test_vectors_as_wide_as_the_models_or_a_projection(dimension, projection, words, rows):
    args = {} if projection is None else {"projection_dim": projection}
    found = check_widths(rows([[1.0, 2.0]] * 3), [LossConfig(type="MSELoss", args=args)], "loss", dimension)
    assert [words in fault for fault in found] == [True] * bool(words)
