"""Training with broken rows in the data: what is left out, in which order the others come, what is listed."""

import io
import json
import os

import pyarrow.parquet
import pytest
import torch
from datasets import Dataset
from PIL import Image
from small_job import job, write_job
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.config.load import load_config
from mmst_cli.config.schema import ColumnConfig, DatasetConfig, OnBadRow, Role, Use
from mmst_cli.errors import DataError, WorkError
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import find_config
from mmst_cli.preparing.broken_rows import told_of_skipping
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.training.train import run_training
from mmst_cli.training.trainer import RunTrainer

TEXTS = {"query": ColumnConfig(role=Role.anchor), "page": ColumnConfig(role=Role.positive)}


# Which batches the other rows are in


@pytest.fixture
def drawn(tmp_path):
    """A function giving the batches of an epoch as texts, and the broken rows that were left out of them."""
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from mmst_cli.builtin.tiny_text import build_tiny_text

    model = SentenceTransformer(str(build_tiny_text()), device="cpu")

    def decode(tokens):
        return [text.replace(" ", "") for text in model.tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def draw(cells, **arguments):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        Dataset.from_dict(cells).to_parquet(folder / "rows.parquet")
        section = DatasetConfig(
            use=Use.train, path=str(folder / "rows.parquet"), columns=TEXTS, on_bad_row=OnBadRow.skip
        )
        bad = BadRows.of({"train": section})
        trainer = RunTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=str(folder / "out"), use_cpu=True, report_to="none", max_steps=6, seed=3, **arguments
            ),
            train=[prepare_rows("train", section, bad_rows=bad)],
            evaluated=[],
            loss=MultipleNegativesRankingLoss(model),
            prompts={},
            write_card=lambda folder: None,
            bad_rows=bad,
        )
        batches = []
        compute = trainer.loss.forward
        trainer.loss.forward = lambda features, labels: (
            batches.append([decode(part["input_ids"]) for part in features]) or compute(features, labels)
        )
        trainer.train()
        del trainer.loss.forward
        pairs = [list(zip(*batch, strict=True)) for batch in batches]
        return pairs, [row.row for row in bad.of_dataset("train")]

    return draw


def texts(count, broken=()):
    """Queries of which some are there twice, so that a duplicate-free sampler has something to move."""
    queries = [f"q{number // 2 if number % 7 == 1 else number}" for number in range(count)]
    return {"query": queries, "page": [None if number in broken else f"p{number}" for number in range(count)]}


@pytest.mark.parametrize("sampler", ["batch_sampler", "no_duplicates", "no_duplicates_hashed"])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_other_row_is_in_the_batch_it_would_be_in(drawn, sampler, workers):
    broken = {4, 9, 17, 18, 30}
    options = {"batch_sampler": sampler, "per_device_train_batch_size": 8, "dataloader_num_workers": workers}
    whole, none = drawn(texts(48), **options)
    with_gaps, found = drawn(texts(48, broken), **options)
    assert none == [] and set(found) == broken
    lost = {f"p{number}" for number in broken}
    assert len(whole) == 6
    assert with_gaps == [[pair for pair in batch if pair[1] not in lost] for batch in whole]


# A whole run


def truncated(kind):
    file = io.BytesIO()
    Image.frombytes("RGB", (96, 128), os.urandom(36864)).save(file, kind)
    return file.getvalue()[:-9000]


def silently_broken():
    """A PNG that begins and ends as it should, and can't be decoded."""
    file = io.BytesIO()
    Image.frombytes("RGB", (96, 128), os.urandom(36864)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[2000:2400] = bytes(400)
    return bytes(content)


def spoil(path, contents):
    """Put other contents, files or nothing into the pages of some rows."""
    table = pyarrow.parquet.read_table(path)
    pages = table.column("image").to_pylist()
    for number, content in contents.items():
        pages[number] = {"bytes": content, "path": None} if isinstance(content, bytes) else content
    place = table.column_names.index("image")
    column = pyarrow.array(pages, table.schema.field("image").type)
    pyarrow.parquet.write_table(table.set_column(place, table.schema.field("image"), column), path)


def broken_job(folder, train=(), evaluated=(), **training):
    config = job(folder, **{"max_steps": 3, "num_train_epochs": 1, **training})
    spoil(folder / "train.parquet", dict(train))
    spoil(folder / "eval.parquet", dict(evaluated))
    for section in config["datasets"].values():
        section["on_bad_row"] = "skip"
    config["evaluators"]["pages"]["dims"] = [128]
    return config


def run(config, folder, terminal, **options):
    return run_training(load_config(write_job(config, folder / "job.yaml")), terminal=terminal, **options)


def listed(folder):
    path = folder / "run/skipped_rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def hidden(seed=42):
    """Rows of 96 that are read neither as sample nor for how they look."""
    from mmst_cli.rows.row_checks import sample_rows

    return [row for row in range(10, 96) if row not in sample_rows(96, seed)]


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_rows_are_left_out_told_and_listed_once(tmp_path, quiet, workers):
    late = hidden()[:2]
    gone = {"bytes": None, "path": str(tmp_path / "gone.png")}
    early = {1: truncated("PNG"), 2: truncated("JPEG"), 3: gone, 5: None}
    config = broken_job(
        tmp_path,
        {**early, **{row: silently_broken() for row in late}},
        {7: truncated("PNG"), 11: gone},
        max_steps=12,
        dataloader_num_workers=workers,
    )
    result = run(config, tmp_path, quiet)
    lines = listed(tmp_path)
    assert {line["row"] for line in lines if line["dataset"] == "train"} == {*early, *late}
    assert {line["row"] for line in lines if line["dataset"] == "eval"} == {7, 11}
    assert len(lines) == len(early) + len(late) + 2
    assert all(set(line) == {"dataset", "row", "column", "error"} for line in lines)
    said = quiet.console.file.getvalue().replace("\n", " ")
    assert said.count("left out: datasets.") == len(lines)
    assert f"left out: datasets.train, row {late[0]}, column image: " in said
    assert f"data: train: {len(early) + len(late)} broken rows left out. All are listed in" in said
    evaluation = result.after["pages"].result
    assert (evaluation.queries, evaluation.corpus) == (22, 22)
    again = run_evaluation(find_config(str(tmp_path / "run"), None, []), terminal=quiet).evaluations["pages"]
    assert again.result.full.metrics == evaluation.full.metrics


def test_whole_rows_list_nothing_and_train_the_same(tmp_path, quiet):
    from safetensors.torch import load_file

    saved = []
    for name, on_bad_row in (("a", "error"), ("b", "skip")):
        (tmp_path / name).mkdir()
        config = broken_job(tmp_path / name)
        config["datasets"]["train"]["on_bad_row"] = on_bad_row
        run(config, tmp_path / name, quiet)
        assert not listed(tmp_path / name)
        saved.append(load_file(tmp_path / name / "run/model/model.safetensors"))
    assert all(torch.equal(saved[0][key], saved[1][key]) for key in saved[0])


def test_a_set_that_only_the_loss_is_computed_on(tmp_path, quiet):
    config = broken_job(tmp_path, evaluated={3: truncated("PNG")}, eval_strategy="steps", eval_steps=1)
    config["evaluators"] = {}
    config["training"]["per_device_eval_batch_size"] = 8
    run(config, tmp_path, quiet)
    assert [(line["dataset"], line["row"]) for line in listed(tmp_path)] == [("eval", 3)]
    assert "loss" in quiet.console.file.getvalue()


def test_several_sets(tmp_path, quiet):
    late = hidden()[0]
    config = broken_job(tmp_path, {late: silently_broken()}, max_steps=12)
    config["datasets"]["more"] = {**config["datasets"]["train"], "path": str(tmp_path / "eval.parquet")}
    run(config, tmp_path, quiet)
    assert [(line["dataset"], line["row"]) for line in listed(tmp_path)] == [("train", late)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream(tmp_path, quiet, monkeypatch, workers):
    config = broken_job(tmp_path, {row: truncated("PNG") for row in range(0, 96, 10)}, max_steps=14)
    config["training"]["dataloader_num_workers"] = workers
    config["datasets"]["train"]["streaming"] = True
    del config["training"]["batch_sampler"], config["training"]["num_train_epochs"]
    run(config, tmp_path, quiet)  # more than two epochs
    lines = listed(tmp_path)
    assert len(lines) == 10
    assert {line["row"] for line in lines} == {None}
    assert len({line["content"] for line in lines}) == 10


def test_mining_compares_the_rows_that_can_be_read(tmp_path, quiet):
    late = hidden()[0]
    config = broken_job(tmp_path, {late: silently_broken()}, max_steps=1)
    config["datasets"]["train"]["mine"] = {"num_negatives": 1}
    run(config, tmp_path, quiet)
    assert [(line["dataset"], line["row"]) for line in listed(tmp_path)] == [("train", late)]
    assert "data: train: of 96 rows 95 can be read" in quiet.console.file.getvalue()


def test_a_dry_run_leaves_out_and_writes_nothing(tmp_path, quiet):
    config = broken_job(tmp_path, {1: truncated("PNG")})
    assert run(config, tmp_path, quiet, dry_run=True).dry_run
    assert not (tmp_path / "run").exists()
    assert "left out: datasets.train, row 1," in quiet.console.file.getvalue()


# Limits


def test_more_than_may_be_left_out_turn_up_while_training(tmp_path, quiet):
    late = hidden()[:6]
    config = broken_job(tmp_path, {row: silently_broken() for row in late}, max_steps=12)
    config["datasets"]["train"]["max_bad_rows"] = 2
    with pytest.raises(WorkError) as caught:
        run(config, tmp_path, quiet)
    message = str(caught.value)
    assert message.startswith("datasets.train.max_bad_rows: found 3 broken rows, and 2 may be left out. The last: ")
    assert f"All are listed in {tmp_path / 'run/skipped_rows.jsonl'}. Mend or remove them, or raise" in message
    assert len(listed(tmp_path)) == 3
    assert "interrupted at step" in quiet.console.file.getvalue()


def test_a_batch_of_which_no_row_is_left(tmp_path, quiet):
    config = broken_job(tmp_path, {row: silently_broken() for row in hidden()}, per_device_train_batch_size=1)
    with pytest.raises(WorkError, match=r"^datasets\.train: a batch is left without a row: none of its 1 can be read"):
        run(config, tmp_path, quiet)


def test_by_default_the_first_broken_row_is_an_error(tmp_path, quiet):
    config = broken_job(tmp_path, {1: truncated("PNG")})
    del config["datasets"]["train"]["on_bad_row"]
    with pytest.raises(DataError, match=r"^datasets\.train, row 1, column image: .* Replace the file, or remove"):
        run(config, tmp_path, quiet)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_row_that_ends_a_training_names_the_way_on_without_it(tmp_path, quiet, workers):
    way_on = r"\. With datasets\.train\.on_bad_row=skip such rows are left out, told of and listed\.$"
    config = broken_job(tmp_path, {hidden()[0]: silently_broken()}, max_steps=12, dataloader_num_workers=workers)
    del config["datasets"]["train"]["on_bad_row"]
    with pytest.raises(WorkError, match=rf"^datasets\.train, row {hidden()[0]}, column image: .*{way_on}"):
        run(config, tmp_path, quiet)
    spoil(tmp_path / "train.parquet", {1: truncated("PNG")})
    with pytest.raises(DataError, match=rf"^datasets\.train, row 1, column image: .*{way_on}"):
        run(config, tmp_path, quiet, overwrite=True)


def test_the_way_on_is_that_of_the_set_that_holds_the_row(tmp_path, quiet, monkeypatch):
    config = broken_job(tmp_path, {})
    for section in config["datasets"].values():
        del section["on_bad_row"]
    spoil(tmp_path / "eval.parquet", {2: truncated("PNG")})
    with pytest.raises(DataError, match=r"datasets\.eval, row 2, .* With datasets\.eval\.on_bad_row=skip such rows"):
        run(config, tmp_path, quiet)
    several = load_config(write_job(config, tmp_path / "job.yaml"))
    monkeypatch.setattr("mmst_cli.processes.count", lambda: 2)
    for name, words in (("train", "--write-clean FILE` writes the rows"), ("eval", "eval.on_bad_row=skip")):
        with pytest.raises(DataError, match=words), told_of_skipping(several):
            raise DataError(f"datasets.{name}, row 2, column image: the image can't be read.")


def test_no_way_on_is_named_where_leaving_rows_out_mends_nothing(tmp_path, quiet):
    config = broken_job(tmp_path, {})
    config["datasets"]["train"]["columns"]["image"]["modality"] = "text"
    del config["datasets"]["train"]["on_bad_row"]
    with pytest.raises(DataError, match=r"^datasets\.train, row 0, column image: declared text") as caught:
        run(config, tmp_path, quiet)
    assert "on_bad_row" not in str(caught.value)


@pytest.mark.parametrize(("rows", "code"), [({1: truncated("PNG")}, 2), ({hidden()[0]: silently_broken()}, 1)])
def test_the_command_says_it_in_one_line(tmp_path, rows, code):
    config = broken_job(tmp_path, rows, max_steps=12)
    config["datasets"]["train"]["max_bad_rows"] = 0
    result = CliRunner().invoke(app, ["train", str(write_job(config, tmp_path / "job.yaml"))])
    assert result.exit_code == code
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: datasets.train.max_bad_rows: found 1 broken row, and 0 may be left out.")
    assert "Traceback" not in result.output
    assert (tmp_path / "run").exists() == (code == 1)


# Going on


def test_what_was_listed_is_read_back(tmp_path, quiet):
    late = hidden()[:2]
    config = broken_job(
        tmp_path, {1: truncated("PNG"), **{row: silently_broken() for row in late}}, save_strategy="steps", save_steps=6
    )
    config["training"]["max_steps"] = 12
    run(config, tmp_path, quiet)
    before = listed(tmp_path)
    assert {line["row"] for line in before} == {1, *late}
    (tmp_path / "run/checkpoint-12/complete.json").unlink()  # as if it had been killed while writing
    quiet.console.file.seek(0)
    quiet.console.file.truncate()
    run(config, tmp_path, quiet, resume=True)
    assert "left out: datasets." not in quiet.console.file.getvalue()
    assert listed(tmp_path) == before
    config["datasets"]["train"]["max_bad_rows"] = 2
    with pytest.raises(DataError, match="found 3 broken rows, and 2 may be left out"):
        run(config, tmp_path, quiet, resume=True)
    whole = Dataset.from_parquet(str(tmp_path / "eval.parquet")).with_format("arrow")[0]["image"][0].as_py()
    spoil(tmp_path / "train.parquet", dict.fromkeys((1, *late), whole))
    config["training"]["max_steps"] = 1
    run(config, tmp_path, quiet, overwrite=True)
    assert not listed(tmp_path)
