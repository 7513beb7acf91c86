"""Data sets of every layout are looked at."""

import json

import pytest
from datasets import Dataset

from mmst_cli.errors import ConfigError


def write(tmp_path, change):
    columns = {"query": {"role": "anchor"}, "image": {"role": "positive", "modality": "image"}}
    config = {
        "model": {"name_or_path": "builtin:tiny-qwen3-vl"},
        "datasets": {"train": {"use": "train", "path": str(tmp_path / "train.jsonl"), "columns": columns}},
        "loss": [{"type": "MultipleNegativesRankingLoss"}],
        "training": {"use_cpu": True},
    }
    change(config)
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def rows(tmp_path, picture):
    written = [{"query": f"query {i}", "image": picture(i)} for i in range(6)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
    return written


def test_judgements_in_layout_beir_are_two_sets(tmp_path, rows, check, picture):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    queries = [{"_id": "q0", "text": "a question"}]
    corpus = [{"_id": f"d{i}", "image": str(tmp_path / picture(i + 5))} for i in range(3)]
    for name, content in {"queries": queries, "corpus": corpus}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td1\t1\n")
    columns = {"text": {"role": "anchor"}, "image": {"role": "positive", "modality": "image"}}

    def change(config):
        config["datasets"]["judged"] = {
            **{"use": "eval", "layout": "beir", "path": str(folder), "split": "test", "columns": columns}
        }
        config["evaluators"] = {"judged": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "judged"}}

    result = check(write(tmp_path, change))
    assert set(result.columns) == {"train", "judged/queries", "judged/corpus"}
    leak = next(f for f in result.findings if f.kind == "leakage")
    assert leak.rows == {5: "identical to judged/corpus.image row 0"}


def test_the_first_rows_of_a_stream_are_looked_at(tmp_path, rows, check):
    def change(config):
        config["datasets"]["train"]["streaming"] = True
        config["training"]["max_steps"] = 2

    config = write(tmp_path, change)
    assert check(config, sample=4).columns["train"]["image"]["rows"] == 4
    with pytest.raises(ConfigError, match=r"datasets\.train\.streaming: .* Leave out --all"):
        check(config, overwrite=True)


def test_lists_of_positives_are_looked_at_entry_by_entry(tmp_path, rows, check, picture):
    lists = [{"query": "one", "image": [picture(0), picture(1)]}, {"query": "two", "image": [picture(2), "gone.png"]}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lists))
    result = check(write(tmp_path, lambda config: None))
    assert result.columns["train"]["image"]["rows"] == 4
    broken = next(f for f in result.findings if f.kind == "broken")
    assert set(broken.rows) == {3}
    assert broken.examples[0].names[0].row == 1  # of the file


def test_media_embedded_in_parquet_stay_embedded_when_cleaned(tmp_path, page_rows, encoded, check):
    pages = [encoded(page) for _, page in page_rows(4)]
    content = [{"bytes": page, "path": None} for page in (*pages[:3], pages[3][:100])]
    table = {"query": [f"query {i}" for i in range(4)], "image": content, "kept": [1, 2, 3, 4]}
    Dataset.from_dict(table).to_parquet(str(tmp_path / "rows.parquet"))

    def change(config):
        config["datasets"]["train"]["path"] = str(tmp_path / "rows.parquet")

    result = check(write(tmp_path, change), write_clean=tmp_path / "clean.parquet")
    assert (result.cleaned.kept, result.cleaned.dropped) == (3, 1)
    written = Dataset.from_parquet(str(tmp_path / "clean.parquet"))
    assert written.column_names == ["query", "image", "kept"]
    assert [row["image"]["bytes"] for row in written] == pages[:3]


def test_paths_lead_to_the_same_files_from_another_folder(tmp_path, rows, check):
    (tmp_path / "sub").mkdir()
    check(write(tmp_path, lambda config: None), write_clean=tmp_path / "sub" / "clean.parquet")
    written = Dataset.from_parquet(str(tmp_path / "sub" / "clean.parquet"))
    assert [row["image"] for row in written] == [f"../{row['image']}" for row in rows]
