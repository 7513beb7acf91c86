"""Rows that can be read, but that the model's processor refuses: each is named, or left out and listed."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from mmst_cli.config.schema import Config, OnBadRow
from mmst_cli.errors import DataError, WorkError
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.mining.mining_embedding import refused_by_row
from mmst_cli.preparing.prepared_config import _without_refused
from mmst_cli.retrieval.retrieval_set import RowRetrieval
from mmst_cli.rows.bad_rows import BadRow, BadRows
from mmst_cli.training.collator import BAD_ROWS, TypedCollator
from mmst_cli.vectors.fitting_batches import MemoryShortageError
from mmst_cli.vectors.input_stream import encode_stream
from mmst_cli.vectors.refused_inputs import RefusedInputError, refused_of_many

ODD = "the mark <|image_pad|> of an image"
QUERIES = ["one", "two", ODD, "four"]


@pytest.fixture
def rows(parquet, png, prepare):
    """A function giving four rows, of which the third has a query that the processor refuses."""

    def make(**fields):
        images = [png(colour) for colour in ("red", "green", "blue", "pink")]
        return prepare(parquet(query=QUERIES, image=images), **fields)

    return make


def test_the_stream_says_which_inputs_are_refused(tiny_model):
    inputs = [{"text": query} for query in [*QUERIES, *QUERIES]]
    with pytest.raises(RefusedInputError) as caught:
        list(encode_stream(tiny_model, inputs, batch_size=3))
    assert list(caught.value.reasons) == [2, 6]
    assert "the model's processor refuses it: Found 1 <|image_pad|> tokens in the text" in caught.value.reason
    assert list(refused_of_many(tiny_model, iter(inputs * 10), "query")) == [n for n in range(80) if n % 4 == 2]


@pytest.mark.parametrize(
    ("raised", "found"),
    [
        (MemoryError(), MemoryShortageError),
        (torch.OutOfMemoryError("CUDA out of memory"), MemoryShortageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_no_input_is_to_blame_for_passes_through(tiny_model, monkeypatch, raised, found):
    def broken(*arguments, **keywords):
        raise raised

    monkeypatch.setattr(tiny_model, "preprocess", broken)
    with pytest.raises(found):
        list(encode_stream(tiny_model, [{"text": "one"}], batch_size=3))


def test_an_evaluation_names_the_row(rows, tiny_model):
    evaluator = MatryoshkaRetrievalEvaluator(RowRetrieval(rows()), [128])
    with pytest.raises(DataError, match=r"^datasets.train, row 2, column query: the model's processor refuses it: "):
        evaluator(tiny_model)


@pytest.mark.parametrize("deduplicate", [True, False])
def test_an_evaluation_names_the_row_of_a_document(parquet, prepare, tiny_model, deduplicate):
    from mmst_cli.config.schema import ColumnConfig, Role

    columns = {"query": ColumnConfig(role=Role.anchor), "page": ColumnConfig(role=Role.positive)}
    path = parquet(query=["a", "b", "c"], page=["same", "same", ODD])
    evaluator = MatryoshkaRetrievalEvaluator(RowRetrieval(prepare(path, columns)), [128], deduplicate=deduplicate)
    with pytest.raises(DataError, match=r"^datasets.train, row 2, column page: "):
        evaluator(tiny_model)


def test_a_set_that_all_rows_are_taken_of_is_prepared_without_them(rows, section, tiny_model):
    data = rows(on_bad_row=OnBadRow.skip)
    dataset = section("x.parquet", on_bad_row=OnBadRow.skip)
    config = Config.model_construct(datasets={"train": dataset}, evaluators={})
    bad_rows = BadRows.of(config.datasets)
    assert _without_refused(config, "train", data, tiny_model, bad_rows) is data  # a batch does without
    evaluated = Config.model_construct(
        datasets={"train": dataset}, evaluators={"e": type("Section", (), {"dataset": "train"})}
    )
    left = _without_refused(evaluated, "train", data, tiny_model, bad_rows)
    assert [row["query"]["text"] for row in map(left.read, left.rows)] == ["one", "two", "four"]
    (bad,) = bad_rows.of_dataset("train")
    assert (bad.row, bad.column) == (2, "query") and bad.error.startswith("the model's processor refuses it: Found 1")
    MatryoshkaRetrievalEvaluator(RowRetrieval(left), [128])(tiny_model)


def test_a_batch_of_training_names_the_row_or_does_without_it(rows, tiny_model):
    strict = rows()
    with pytest.raises(
        DataError, match=r"^datasets.train, row 2, column query: the model's processor refuses it: Found"
    ):
        TypedCollator(preprocess_fn=tiny_model.preprocess).declare([strict])(list(strict.rows))
    lenient = rows(on_bad_row=OnBadRow.skip)
    drawn = list(lenient.rows)
    collator = TypedCollator(preprocess_fn=tiny_model.preprocess).declare([lenient])
    batch = collator(drawn)
    (bad,) = batch.pop(BAD_ROWS)
    assert isinstance(bad, BadRow) and bad.row == 2
    whole = collator([row for place, row in enumerate(drawn) if place != 2])
    assert whole.keys() == batch.keys()
    assert all(torch.equal(batch[key], whole[key]) for key in batch if torch.is_tensor(batch[key]))


def test_what_fails_for_no_row_is_no_error_of_a_row(rows):
    def broken(inputs, **options):
        if len(inputs) > 1:
            raise RuntimeError("a fault of ours")
        return {}

    data = rows(on_bad_row=OnBadRow.skip)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        TypedCollator(preprocess_fn=broken).declare([data])(list(data.rows))


def test_mining_names_the_row(rows):
    data = rows()
    with (
        pytest.raises(WorkError, match=r"^datasets.train, row 2, column query: the mark is odd. Remove the row"),
        refused_by_row(data.rows.__getitem__, data, data.columns[0]),
    ):
        raise RefusedInputError({2: "the mark is odd."})


def test_a_strip_that_is_too_narrow_is_refused_by_name(parquet, prepare, encoded, tiny_model, monkeypatch):
    monkeypatch.setattr("mmst_cli.media.bounds.MAX_ASPECT", 10_000)
    strip = encoded(Image.new("RGB", (3000, 2)))
    data = prepare(parquet(query=["one", "two"], image=[encoded(Image.new("RGB", (64, 64))), strip]))
    with pytest.raises(DataError, match=r"^datasets.train, row 1, column image: the model's processor refuses it: "):
        MatryoshkaRetrievalEvaluator(RowRetrieval(data), [128])(tiny_model)
