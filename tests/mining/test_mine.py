"""`mmst mine` from rows to a file that can be trained on."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from datasets import Dataset, Features, Value, load_dataset
from datasets import Image as ImageFeature
from media_samples import write_pdf

from mmst_cli.config.load import load_config
from mmst_cli.config.schema import MediaConfig, MineConfig, Role
from mmst_cli.errors import ConfigError, DataError, RunError, WorkError
from mmst_cli.mining.mine import run_mining
from mmst_cli.mining.mined_columns import dataset_section, training_command
from mmst_cli.mining.mining_job import MiningOptions
from mmst_cli.rows.row_preparation import prepare_rows

QUERY, IMAGE = {"role": "anchor"}, {"role": "positive", "modality": "image"}


@pytest.fixture
def config_of(tmp_path):
    """A function giving a config of one training set."""

    def make(path, columns, model="builtin:tiny-qwen3-vl", **section):
        tree = {
            "model": {"name_or_path": model},
            "datasets": {"train": {"use": "train", "path": str(path), "columns": columns, **section}},
            "loss": [{"type": "MultipleNegativesRankingLoss"}],
            "training": {"use_cpu": True},
        }
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        return load_config(tmp_path / "job.yaml")

    return make


@pytest.fixture
def run(tmp_path, quiet):
    """A function that mines by a config."""

    def mine(config, output=None, **options):
        settings = {k: options.pop(k) for k in list(options) if hasattr(MineConfig(), k)}
        chosen = MiningOptions(
            "train", MineConfig(**{"num_negatives": 2, **settings}), output or tmp_path / "mined.parquet", **options
        )
        return run_mining(config, chosen, quiet, lambda section, added: dataset_section(section, chosen.output, added))

    return mine


@pytest.fixture
def pages_file(tmp_path, page_rows, encoded):
    """A parquet file of pages that are embedded, with an id that no column declares."""

    def write(count=12, name="pages.parquet"):
        rows = [
            {"id": number, "query": query, "image": {"bytes": encoded(page), "path": None}}
            for number, (query, page) in enumerate(page_rows(count))
        ]
        features = Features({"id": Value("int64"), "query": Value("string"), "image": ImageFeature()})
        Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / name))
        return tmp_path / name

    return write


def read_back(config, output, result, quiet):
    """Return the rows of the output as a training run of the advised section reads them."""
    section = yaml.safe_load(result.next_step)["datasets"]["train"]
    tree = {"model": {"name_or_path": "x"}, "datasets": {"train": section}}
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(tree))
    found = load_config(path)
    return prepare_rows("train", found.datasets["train"], 42, config.media or MediaConfig())


def test_embedded_pages_are_written_once_and_named(pages_file, config_of, run, quiet, tmp_path):
    config = config_of(pages_file(), {"query": QUERY, "image": IMAGE})
    result = run(config)
    rows = pq.read_table(result.output).to_pylist()
    assert list(rows[0]) == ["id", "query", "image", "negative_1", "negative_2", "scores"]
    assert [row["id"] for row in rows] == list(range(12))
    images = {row["image"]["path"] for row in rows}
    assert {row[n]["path"] for row in rows for n in ("negative_1", "negative_2")} <= images
    assert all(cell["bytes"] is None for row in rows for cell in (row["image"], row["negative_1"]))
    assert len(list((tmp_path / "mined.media").iterdir())) == len(images) == 12
    assert all(len(row["scores"]) == 3 and row["scores"][1] >= row["scores"][2] for row in rows)
    assert isinstance(
        load_dataset("parquet", data_files=str(result.output), split="train").features["image"], ImageFeature
    )
    prepared = read_back(config, result.output, result, quiet)
    source = prepare_rows("train", config.datasets["train"], 42)
    by_path = {row["image"]["path"]: number for number, row in enumerate(rows)}
    read = prepared.read(prepared.rows[3])
    assert list(read) == ["query", "image", "negative_1", "negative_2"]
    assert read["image"].tobytes() == source.value_at(source.columns[1], 3).tobytes()
    other = by_path[rows[3]["negative_1"]["path"]]
    assert read["negative_1"].tobytes() == source.value_at(source.columns[1], other).tobytes()
    assert not result.output.with_name(".mined.parquet.work").exists()


def test_media_can_be_put_into_the_cells(pages_file, config_of, run, quiet, tmp_path):
    config = config_of(pages_file(), {"query": QUERY, "image": IMAGE})
    result = run(config, embed_media=True)
    rows = pq.read_table(result.output).to_pylist()
    assert all(row[n]["bytes"].startswith(b"\x89PNG") for row in rows for n in ("image", "negative_1", "negative_2"))
    assert not (tmp_path / "mined.media").exists()
    prepared = read_back(config, result.output, result, quiet)
    assert prepared.read(prepared.rows[0])["negative_2"].size == (96, 128)


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize("place", ["below", "elsewhere"])
def test_files_are_named_from_where_the_new_file_is(place, embed, page_rows, config_of, run, quiet, tmp_path):
    folder = tmp_path / "data" / "pages"
    folder.mkdir(parents=True)
    lines = []
    for number, (query, page) in enumerate(page_rows(8)):
        page.save(folder / f"{number}.png")
        lines.append({"query": query, "image": f"pages/{number}.png"})
    (tmp_path / "data" / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    output = tmp_path / ("data" if place == "below" else "other") / "mined.parquet"
    output.parent.mkdir(exist_ok=True)
    config = config_of(tmp_path / "data" / "rows.jsonl", {"query": QUERY, "image": IMAGE})
    result = run(config, output, embed_media=embed)
    rows = pq.read_table(result.output).to_pylist()
    if embed:
        assert rows[0]["image"] == {"bytes": (folder / "0.png").read_bytes(), "path": "0.png"}
    elif place == "below":
        assert rows[0]["image"] == "pages/0.png"
    else:
        assert rows[0]["image"] == str(folder / "0.png")
    prepared = read_back(config, output, result, quiet)
    assert prepared.read(prepared.rows[0])["negative_1"].size == (96, 128)


def test_a_document_of_several_parts_has_negatives_of_several_columns(
    page_rows, encoded, config_of, run, quiet, tmp_path
):
    rows = [
        {"query": f"find {q}", "ocr": f"text {n}", "page": {"bytes": encoded(p), "path": None}}
        for n, (q, p) in enumerate(page_rows(8))
    ]
    features = Features({"query": Value("string"), "ocr": Value("string"), "page": ImageFeature()})
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "rows.parquet"))
    config = config_of(
        tmp_path / "rows.parquet",
        {"query": QUERY, "document": {"role": "positive", "parts": {"text": "ocr", "image": "page"}}},
    )
    result = run(config)
    written = pq.read_table(result.output)
    assert "negative_1_ocr" in written.column_names and "negative_2_page" in written.column_names
    section = yaml.safe_load(result.next_step)["datasets"]["train"]["columns"]
    assert section["negative_1"] == {
        "role": "negative",
        "parts": {"text": "negative_1_ocr", "image": "negative_1_page"},
    }
    prepared = read_back(config, result.output, result, quiet)
    read = prepared.read(prepared.rows[0])
    assert read["negative_1"].keys() == {"text", "image"} and read["negative_1"]["text"] != read["document"]["text"]


def test_chats_made_of_columns_and_chats_as_json(text_pairs, config_of, run, quiet, tmp_path):
    pairs = text_pairs(12)
    rows = [{"query": json.dumps([{"role": "user", "content": p["query"]}]), "answer": p["answer"]} for p in pairs]
    Dataset.from_list(rows).to_parquet(str(tmp_path / "rows.parquet"))
    template = [{"role": "assistant", "content": "it is {{so}}: {answer}"}]
    config = config_of(
        tmp_path / "rows.parquet",
        {"query": {"role": "anchor", "modality": "message"}, "reply": {"role": "positive", "message": template}},
    )
    result = run(config, num_negatives=1)
    section = yaml.safe_load(result.next_step)["datasets"]["train"]["columns"]
    assert section["negative_1"]["message"] == [{"role": "assistant", "content": "it is {{so}}: {negative_1_answer}"}]
    prepared = read_back(config, result.output, result, quiet)
    read = prepared.read(prepared.rows[0])
    said = read["negative_1"][0]["content"]
    assert "it is {so}: " in json.dumps(said) and read["negative_1"] != read["reply"]


def test_mixed_cells_have_mixed_negatives(page_rows, encoded, config_of, run, quiet, tmp_path):
    rows = [
        {"query": q, "document": {"text": f"text {n}", "image": {"bytes": encoded(p), "path": None}}}
        for n, (q, p) in enumerate(page_rows(6))
    ]
    features = Features({"query": Value("string"), "document": {"text": Value("string"), "image": ImageFeature()}})
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "rows.parquet"))
    config = config_of(
        tmp_path / "rows.parquet", {"query": QUERY, "document": {"role": "positive", "modality": "mixed"}}
    )
    result = run(config)
    first = pq.read_table(result.output).to_pylist()[0]
    assert first["negative_1"]["image"]["path"].startswith("mined.media/")
    prepared = read_back(config, result.output, result, quiet)
    assert prepared.read(prepared.rows[0])["negative_1"]["image"].size == (96, 128)


def test_lists_of_positives_become_rows_of_one(text_pairs, config_of, run, quiet, tmp_path):
    pairs = text_pairs(20, 1)
    rows = [
        {"query": p["query"], "answers": [p["answer"], f"{p['answer']} more of it {n}"]} for n, p in enumerate(pairs)
    ]
    Dataset.from_list(rows).to_parquet(str(tmp_path / "rows.parquet"))
    config = config_of(
        tmp_path / "rows.parquet", {"query": QUERY, "answers": {"role": "positive"}}, "builtin:tiny-text"
    )
    result = run(config, num_negatives=1)
    written = pq.read_table(result.output).to_pylist()
    assert {row["answers"] for row in written} <= {answer for row in rows for answer in row["answers"]}
    own = {row["query"]: set() for row in rows}
    for row in rows:
        own[row["query"]] |= set(row["answers"])
    assert all(row["negative_1"] not in own[row["query"]] for row in written)
    assert len(read_back(config, result.output, result, quiet)) == len(written)


@pytest.mark.parametrize("embed", [False, True])
def test_pages_of_documents(embed, config_of, run, quiet, tmp_path):
    write_pdf(tmp_path / "a.pdf", pages=3)
    write_pdf(tmp_path / "b.pdf", pages=2)
    lines = [{"query": "the first report", "page": "a.pdf"}, {"query": "the second report", "page": "b.pdf"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = config_of(tmp_path / "rows.jsonl", {"query": QUERY, "page": {**IMAGE, "pages": "all"}})
    try:
        result = run(config, num_negatives=1, embed_media=embed)
    except WorkError as error:  # where all generated pages are near duplicates
        pytest.skip(str(error))
    written = pq.read_table(result.output).to_pylist()
    if embed:
        assert all(row["page"]["bytes"].startswith(b"\x89PNG") for row in written)
    else:
        assert {row["page"] for row in written} <= {
            f"{n}.pdf#{p}" for n, last in (("a", 3), ("b", 2)) for p in range(1, last + 1)
        }
    assert len(read_back(config, result.output, result, quiet)) == len(written)


@pytest.mark.parametrize(
    ("data", "column", "modality", "model"),
    [
        ("builtin:sounds", "sound", "audio", "builtin:tiny-clap"),
        ("builtin:clips", "clip", "video", "builtin:tiny-qwen3-vl"),
    ],
)
def test_sounds_and_clips(data, column, modality, model, config_of, run, quiet):
    columns = {"query": QUERY, column: {"role": "positive", "modality": modality}}
    config = config_of(data, columns, model, name="train", split="train[:10]")
    result = run(config, num_negatives=1)
    prepared = read_back(config, result.output, result, quiet)
    read = prepared.read(prepared.rows[0])
    assert "array" in read["negative_1"][modality]


def test_names_that_are_taken_are_left_alone(text_pairs, config_of, run, tmp_path):
    rows = [{**p, "negative_1": "no", "scores": 1.0} for p in text_pairs(15)]
    Dataset.from_list(rows).to_parquet(str(tmp_path / "rows.parquet"))
    columns = {"query": QUERY, "answer": {"role": "positive"}}
    result = run(config_of(tmp_path / "rows.parquet", columns, "builtin:tiny-text"), num_negatives=1)
    written = pq.read_table(result.output)
    assert written.column_names == ["query", "answer", "negative_1", "scores", "mined_1", "mined_scores"]
    Dataset.from_list([{**row, "mined_1": "x"} for row in rows]).to_parquet(str(tmp_path / "more.parquet"))
    with pytest.raises(DataError, match="mined_1"):
        run(config_of(tmp_path / "more.parquet", columns, "builtin:tiny-text"), tmp_path / "again.parquet")


@pytest.fixture
def texts(text_pairs, config_of, tmp_path):
    """A config of text pairs."""
    Dataset.from_list(text_pairs(40)).to_parquet(str(tmp_path / "rows.parquet"))
    return config_of(tmp_path / "rows.parquet", {"query": QUERY, "answer": {"role": "positive"}}, "builtin:tiny-text")


@pytest.mark.parametrize("strategy", ["top", "random"])
def test_the_same_again_is_the_same(strategy, texts, run, tmp_path):
    first, second = (run(texts, tmp_path / name / "m.parquet", sampling_strategy=strategy) for name in ("a", "b"))
    assert first.output.read_bytes() == second.output.read_bytes()
    assert first.sheet.read_bytes() == second.sheet.read_bytes()
    if strategy == "random":
        other = run(texts, tmp_path / "c" / "m.parquet", sampling_strategy=strategy, seed=1)
        assert pq.read_table(other.output)["negative_1"] != pq.read_table(first.output)["negative_1"]


def test_what_is_there_is_kept(texts, run, quiet, tmp_path):
    result = run(texts)
    before = result.output.read_bytes()
    with pytest.raises(RunError, match="exists"):
        run(texts)
    again = run(texts, resume=True)
    assert again.facts == result.facts and "finished already" in quiet.console.file.getvalue()
    with pytest.raises(RunError, match=r"settings.num_negatives 2, and now it is 1"):
        run(texts, resume=True, num_negatives=1)
    assert result.output.read_bytes() == before
    run(texts, overwrite=True, num_negatives=1)
    assert result.output.read_bytes() != before
    (tmp_path / "other.parquet").write_bytes(b"no parquet")
    with pytest.raises(RunError, match="wasn't written by mmst mine"):
        run(texts, tmp_path / "other.parquet", resume=True)


def test_work_that_was_begun_is_taken_up_by_the_same_job_alone(texts, run, quiet, tmp_path, monkeypatch):
    from mmst_cli.mining import mine as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "mine_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(texts)
    assert "--resume goes on" in quiet.console.file.getvalue()
    with pytest.raises(RunError, match="was begun and not finished"):
        run(texts)
    with pytest.raises(RunError, match="seed 42, and now it is 7"):
        run(texts, resume=True, seed=7)
    assert run(texts, resume=True).facts.kept
    assert not (tmp_path / ".mined.parquet.work").exists()


def test_memory_that_is_too_small_is_told_of(texts, run, monkeypatch):
    from mmst_cli.mining import mine as module

    monkeypatch.setattr(module, "mine_rows", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(WorkError, match=r"^out of memory: OutOfMemoryError. Lower --batch-size, now 32"):
        run(texts)


def test_outputs_that_cannot_be_are_refused(texts, run, tmp_path):
    with pytest.raises(ConfigError, match=r"end in \.parquet"):
        run(texts, tmp_path / "mined.jsonl")
    with pytest.raises(ConfigError, match="part of what is mined in"):
        run(texts, tmp_path / "rows.parquet", overwrite=True)
    with pytest.raises(ConfigError, match="Choose one"):
        run(texts, resume=True, overwrite=True)


def test_when_nothing_is_left_it_says_why(texts, run, tmp_path):
    with pytest.raises(WorkError, match=r"min_score.* lower min_score"):
        run(texts, min_score=2.0)
    assert {path.name for path in tmp_path.glob("*mined*")} | {path.name for path in tmp_path.glob(".mined*")} == set()
    result = run(texts, relative_margin=0.0, num_negatives=8)
    assert 0 < result.facts.left_out == result.facts.rows - result.facts.kept


def test_max_rows_and_sql_are_followed(texts, run, tmp_path):
    section = texts.datasets["train"].model_copy(update={"max_rows": 20, "sql": "select *, 1 as one from rows"})
    result = run(texts.model_copy(update={"datasets": {"train": section}}))
    assert result.facts.rows == 20
    assert pq.read_table(result.output).column_names[:3] == ["query", "answer", "one"]


def test_the_next_command_trains(pages_file, config_of, tmp_path, quiet):
    from mmst_cli.training.train import run_training

    config = config_of(pages_file(), {"query": QUERY, "image": IMAGE}, max_rows=11)
    options = MiningOptions("train", MineConfig(num_negatives=2), tmp_path / "mined.parquet")
    said = []

    def say(section, added):
        said.append(
            training_command(Path("job.yaml"), ["training.max_steps=1"], "train", section, options.output, added)
        )
        return said[0]

    run_mining(config, options, quiet, say)
    import shlex

    words = shlex.split(said[0])
    assert words[:4] == ["mmst", "train", "job.yaml", "training.max_steps=1"]
    trained = load_config(tmp_path / "job.yaml", [*words[3:], f"output_dir={tmp_path / 'run'}"])
    assert [c.role for c in trained.datasets["train"].columns.values()].count(Role.negative) == 2
    result = run_training(trained, terminal=quiet)
    assert result.steps == 1


def test_rows_that_cannot_be_read_are_left_out_where_the_file_says_so(pages_file, config_of, run, tmp_path):
    path = pages_file()
    rows = pq.read_table(path).to_pylist()
    rows[4]["image"]["bytes"] = rows[4]["image"]["bytes"][:300]
    Dataset.from_list(rows, features=load_dataset("parquet", data_files=str(path), split="train").features).to_parquet(
        str(path)
    )
    columns = {"query": QUERY, "image": IMAGE}
    with pytest.raises(DataError, match="row 4, column image"):
        run(config_of(path, columns))
    result = run(config_of(path, columns, on_bad_row="skip"))
    assert [row["id"] for row in pq.read_table(result.output).to_pylist()] == [n for n in range(12) if n != 4]


@pytest.mark.parametrize("named", ["by the config", "beside it"])
def test_a_run_mines_in_the_precision_it_was_trained_in(tmp_path, config_of, run, quiet, monkeypatch, named):
    from mmst_cli.builtin.tiny_text import build_tiny_text
    from mmst_cli.mining import mine as module

    seen, mine_rows = [], module.mine_rows
    monkeypatch.setattr(module, "mine_rows", lambda search, *rest: seen.append(search) or mine_rows(search, *rest))
    shutil.copytree(build_tiny_text(), tmp_path / "run/model")
    (tmp_path / "run/config.yaml").write_text("training: {bf16: true, use_cpu: true}")
    rows = [{"query": f"query {i}", "doc": f"doc {i}"} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trained = str(tmp_path / "run")
    config = config_of(
        tmp_path / "rows.jsonl",
        {"query": QUERY, "doc": {"role": "positive"}},
        trained if named == "by the config" else "builtin:tiny-text",
    )
    run(config, **({} if named == "by the config" else {"model": trained}))
    assert seen[0].precision.autocast is torch.bfloat16
    assert f"precision: bf16, as {trained} was trained" in quiet.console.file.getvalue().replace("\n", "")
