"""Every form of input, in training, evaluation and encoding alike: the vectors of direct `model.encode`."""

import re
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from forms import FORMS, MODELS
from table import CHECKED, markdown

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, MediaConfig, Modality, ModelConfig, Role, Use
from mmst_cli.encoding.encode import run_encode
from mmst_cli.model.load_model import find_model, load_model
from mmst_cli.model.model_media import fit_media
from mmst_cli.retrieval.retrieval_set import RowRetrieval
from mmst_cli.rows.columns import as_input
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.terminal import Terminal
from mmst_cli.training.collator import TypedCollator
from mmst_cli.vectors.input_stream import encode_stream

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def models():
    """A function that loads a built-in model, once a module; settings of clips change the model, so not those."""
    loaded = {}

    def load(name, fresh):
        if name not in loaded or fresh:
            loaded[name] = load_model(ModelConfig(name_or_path=name), torch.device("cpu"))[0]
        return loaded[name]

    return load


@pytest.fixture(params=FORMS, ids=lambda form: f"{form.kind}: {form.name}")
def stored(request, tmp_path, models):
    """A form, its case, the folder of its table, and the model that takes it."""
    case = request.param.build(tmp_path)
    rows = len(next(iter(case.columns.values())))
    table = datasets.Dataset.from_dict({"query": [f"query {index}" for index in range(rows)], **case.columns})
    for name, feature in case.features.items():
        table = table.cast_column(name, feature)
    table.to_parquet(tmp_path / "rows.parquet")
    model = models(MODELS[request.param.kind], fresh=bool(case.media))
    return request.param, case, tmp_path, model


def prepared(case, folder, model):
    declare = {**case.declare, "modality": Modality(case.declare.get("modality", "text"))}
    columns = {"query": ColumnConfig(role=Role.anchor), "document": ColumnConfig(role=Role.positive, **declare)}
    section = DatasetConfig(use=Use.train, path=str(folder / "rows.parquet"), columns=columns)
    rows = prepare_rows("train", section, 0, MediaConfig(**case.media))
    fit_media(model, [rows.reader])
    return rows


def directly(model, inputs):
    """What sentence-transformers makes of each input by itself, which no batch can change."""
    return torch.cat([model.encode([value], convert_to_tensor=True, show_progress_bar=False) for value in inputs])


def assert_equal(found, wanted):
    assert found.shape == wanted.shape
    # Padding to the longest of a batch may move the last bits.
    torch.testing.assert_close(torch.as_tensor(found), wanted, atol=2e-6, rtol=0)


def test_eval(stored):
    _, case, folder, model = stored
    rows = prepared(case, folder, model)
    corpus = [as_input(value, modality) for modality, value in RowRetrieval(rows).corpus()]
    found = torch.cat(list(encode_stream(model, corpus, batch_size=2)))
    assert_equal(found, directly(model, case.same))


def test_train_step(stored):
    _, case, folder, model = stored
    rows = prepared(case, folder, model)
    collator = TypedCollator(preprocess_fn=model.preprocess).declare([rows])
    batch = collator(list(rows.rows))
    model.eval()
    features = {key.removeprefix("document_"): value for key, value in batch.items() if key.startswith("document_")}
    with torch.no_grad():
        found = model(features)["sentence_embedding"]
    assert_equal(found, directly(model, case.same))


def test_encode(stored):
    form, case, folder, model = stored
    if case.encode_columns is None and case.files is None:
        pytest.skip("a form of tables that a command line can't name")
    wanted = directly(model, case.same)
    for way, inputs, columns in (
        ("files", [str(folder / name) for name in case.files or []], None),
        ("table", [str(folder / "rows.parquet")], case.encode_columns),
    ):
        if not inputs or (way == "table" and columns is None):
            continue
        output = folder / way
        run_encode(
            find_model(MODELS[form.kind]),
            inputs,
            output,
            columns=columns,
            media=case.media,
            pages=case.pages if way == "files" else None,
            terminal=Terminal(),
        )
        vectors = [pq.read_table(part)["embedding"].to_numpy() for part in sorted(output.glob("part-*.parquet"))]
        assert_equal(np.stack(np.concatenate(vectors)), wanted)


def test_the_matrix_in_the_docs_is_that_of_these_tests():
    page = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- matrix -->\n(.*?)<!-- /matrix -->", page, re.DOTALL)
    assert found is not None
    assert found[1] == markdown()


def test_every_kind_is_there():
    assert {form.kind for form in FORMS} == set(MODELS)
    assert CHECKED == ("train", "eval", "encode")
