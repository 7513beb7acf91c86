"""The trainer and its collator: rows read as declared, batches drawn without decoding."""

import random
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, Features, IterableDataset, Value
from datasets import Image as ImageFeature
from PIL import Image

from mmst_cli.config.schema import MediaConfig, Modality, Role
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.training.collator import DRAWN_ROWS, ROWS, TypedCollator, routed_tasks
from mmst_cli.training.trainer import RunTrainer


def column(name, role, modality=Modality.text):
    return Column(name, role, modality, (name,))


COLUMNS = (column("q", Role.anchor), column("page", Role.positive, Modality.image), column("grade", Role.label))


def row_set(folder, rows, columns=COLUMNS, key="train"):
    return RowSet(key, rows, columns, Reader(MediaConfig(), folder))


def taking_notes(notes):
    def preprocess(inputs, prompt=None, task=None):
        notes.append((inputs, prompt, task))
        return {"input_ids": inputs}

    return preprocess


def test_texts_are_handed_over_as_texts_and_the_label_by_its_role(tmp_path, encoded):
    path = tmp_path / "a.png"
    image = Image.new("RGB", (4, 4), "red")
    path.write_bytes(encoded(image))
    notes = []
    collator = TypedCollator(preprocess_fn=taking_notes(notes)).declare([row_set(tmp_path, None)])
    batch = collator([{"grade": 3, "page": {"bytes": encoded(image), "path": None}, "q": str(path)}])
    assert notes[0][0] == [{"text": str(path)}]
    assert notes[1][0][0].tobytes() == image.tobytes()
    assert batch["label"].tolist() == [3]
    assert list(batch) == ["label", "q_input_ids", "page_input_ids", "dataset_name", DRAWN_ROWS, ROWS]
    assert batch[ROWS] == 1


def test_rows_are_read_as_their_own_set_declares(tmp_path):
    other = (column("grade", Role.anchor), column("q", Role.positive))
    sets = [row_set(tmp_path, None), row_set(tmp_path, None, other, "other")]
    notes = []
    prompts = {"other": {"grade": "find: "}}
    collator = TypedCollator(preprocess_fn=taking_notes(notes)).declare(sets, prompts, ["query", "document"])
    batch = collator([{"q": "b", "grade": "a", "dataset_name": "other"}])
    assert notes == [([{"text": "a"}], "find: ", "query"), ([{"text": "b"}], None, "document")]
    assert batch["dataset_name"] == "other" and "label" not in batch
    assert [batch["grade_task"], batch["q_task"]] == ["query", "document"]


def test_prompts_of_the_trainer_itself_are_kept(tmp_path, encoded):
    page = {"bytes": encoded(Image.new("RGB", (4, 4))), "path": None}
    notes = []
    collator = TypedCollator(preprocess_fn=taking_notes(notes), prompts={"q": "Find: "})
    collator.declare([row_set(tmp_path, None)])([{"q": "x", "page": page, "grade": 0}])
    assert [prompt for _, prompt, _ in notes] == ["Find: ", None]


@pytest.mark.parametrize("name", ["answer", "positive"])
def test_the_order_of_names_is_not_commented_on(tmp_path, name, caplog):
    rows = row_set(tmp_path, None, (column(name, Role.anchor), column("query", Role.positive)))
    TypedCollator(preprocess_fn=taking_notes([])).declare([rows])([{name: "a", "query": "b"}])
    assert not caplog.records


def test_a_task_is_passed_only_to_a_router_that_knows_it():
    from sentence_transformers.base.modules import Router
    from torch import nn

    def tasks_of(mappings=None, **routes):
        modules = {name: [nn.Identity()] for name in routes}
        return routed_tasks(SimpleNamespace(children=lambda: [Router(modules, route_mappings=mappings)]))

    assert tasks_of(query=1, document=1) == ["query", "document"]
    assert tasks_of(text=1, image=1) == []
    assert tasks_of({("query", "text"): "a", (None, "image"): "b"}, a=1, b=1) == ["query"]
    assert routed_tasks(SimpleNamespace(children=list)) == []


@pytest.fixture
def build(tmp_path):
    """A function building a trainer on a text model."""
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from mmst_cli.builtin.tiny_text import build_tiny_text

    def build(*train, prompts=None, **arguments):
        model = SentenceTransformer(str(build_tiny_text()), device="cpu")
        return RunTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=str(tmp_path / "out"), use_cpu=True, report_to="none", **arguments
            ),
            train=train,
            evaluated=[],
            loss=MultipleNegativesRankingLoss(model),
            prompts=prompts or {},
            write_card=lambda folder: None,
        )

    return build


def pages(tmp_path, encoded, count=40):
    """Rows in which texts and pages turn up more than once: embedded, and decoded as plain ST would have them."""
    colours = [(i * 6, 255 - i * 6, i) for i in range(count // 2)]
    draw = random.Random(1)
    rows = [
        {
            "q": f"query {draw.randrange(count)}",
            "page": {"bytes": encoded(Image.new("RGB", (4, 4), draw.choice(colours))), "path": None},
            "grade": i % 4,
        }
        for i in range(count)
    ]
    stored = Features({"q": Value("string"), "page": ImageFeature(decode=False), "grade": Value("int64")})
    raw = Dataset.from_list(rows, features=stored)
    return row_set(tmp_path, raw), raw.cast_column("page", ImageFeature())


@pytest.mark.parametrize("sampler", ["no_duplicates", "no_duplicates_hashed"])
def test_duplicate_free_batches_are_those_of_st_and_nothing_is_decoded(tmp_path, encoded, build, sampler, monkeypatch):
    from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

    rows, decoded = pages(tmp_path, encoded)
    options = {"batch_size": 8, "drop_last": False, "valid_label_columns": ["grade"], "seed": 7}
    expected = list(NoDuplicatesBatchSampler(decoded, generator=torch.Generator(), **options))
    trainer = build(rows, batch_sampler=sampler, dataloader_num_workers=0)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("a page was opened"))
    found = list(trainer.get_batch_sampler(trainer.train_dataset, generator=torch.Generator(), **options))
    assert found == expected
    assert len(found) > 5, "some rows had to wait for another batch"


def test_batches_by_label_are_those_of_st(tmp_path, encoded, build):
    from sentence_transformers.base.sampler import GroupByLabelBatchSampler

    rows, decoded = pages(tmp_path, encoded)
    options = {"batch_size": 8, "drop_last": False, "valid_label_columns": ["grade"], "seed": 7}
    expected = list(GroupByLabelBatchSampler(decoded, generator=torch.Generator(), **options))
    trainer = build(rows, batch_sampler="group_by_label")
    assert list(trainer.get_batch_sampler(trainer.train_dataset, generator=torch.Generator(), **options)) == expected
    with pytest.raises(ConfigError, match=r"training\.batch_sampler: train: batch_size must be an even number"):
        trainer.get_batch_sampler(trainer.train_dataset, generator=None, **{**options, "batch_size": 5})


@pytest.mark.parametrize("workers", [0, 1])
def test_a_row_that_cannot_be_read_is_named_in_a_sentence(tmp_path, build, workers):
    texts = [{"q": f"query {i}", "p": f"page {i}" if i != 5 else None, "__row__": i} for i in range(8)]
    rows = row_set(tmp_path, Dataset.from_list(texts), (column("q", Role.anchor), column("p", Role.positive)))
    trainer = build(rows, max_steps=2, save_strategy="no", dataloader_num_workers=workers)
    with pytest.raises(DataError, match=r"^datasets\.train, row 5, column p: [^\n]*\.$"):
        trainer.train()


def test_a_stream_is_trained_on_in_its_order(tmp_path, build):
    texts = [{"q": f"query {i}", "p": f"page {i}"} for i in range(12)]
    features = Features({"q": Value("string"), "p": Value("string")})
    stream = IterableDataset.from_generator(lambda: iter(texts), features=features)
    rows = row_set(tmp_path, stream, (column("q", Role.anchor), column("p", Role.positive)))
    assert rows.is_stream
    options = {"max_steps": 4, "per_device_train_batch_size": 4, "logging_steps": 1, "save_strategy": "no"}
    trainer = build(rows, accelerator_config={"dispatch_batches": False}, **options)
    trainer.train()
    batch = next(iter(trainer.get_train_dataloader()))
    expected = trainer.model.preprocess([{"text": row["q"]} for row in texts[:4]])["input_ids"]
    assert batch["q_input_ids"].tolist() == expected.tolist()
    assert len([entry for entry in trainer.state.log_history if "loss" in entry]) == 4
