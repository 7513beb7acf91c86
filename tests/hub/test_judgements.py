"""Judgements in layout beir from a stand-in for the hub: in configurations, or beside them as BEIR's own copies."""

import json
import subprocess
import sys

import datasets
import pytest
from stand_in import StandInHub, loopback_environment

CODE = """
import json, sys
from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Layout, Role, Use
from mmst_cli.retrieval.judgements import prepare_judgements
columns = {"queries/text": ColumnConfig(role=Role.anchor), "corpus/text": ColumnConfig(role=Role.positive)}
for path in sys.argv[1:]:
    section = DatasetConfig(use=Use.eval, path=path, layout=Layout.beir, split="test", columns=columns)
    judged = prepare_judgements("eval", section)
    print(json.dumps([judged.relevant, [text for _, text in judged.queries()], [text for _, text in judged.corpus()]]))
"""


def write_dataset(folder, configurations):
    """Write a repository of (configuration, split, rows)."""
    front = ""
    for name, split, rows in configurations:
        (folder / name).mkdir(parents=True)
        datasets.Dataset.from_list(rows).to_parquet(folder / name / f"{split}-0.parquet")
        front += f"- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {name}/{split}-*\n"
    (folder / "README.md").write_text(f"---\nconfigs:\n{front}---\n")
    return folder


@pytest.fixture
def hub(tmp_path):
    queries = ("queries", "queries", [{"_id": f"q{number}", "text": f"query {number}"} for number in range(3)])
    corpus = ("corpus", "corpus", [{"_id": f"d{n}", "title": "On", "text": f"document {n}"} for n in range(3)])
    judged = [{"query-id": f"q{number}", "corpus-id": f"d{number}", "score": number} for number in range(3)]
    with StandInHub() as hub:
        one = write_dataset(tmp_path / "one", [("default", "test", judged), queries, corpus])
        hub.add("datasets", "mteb/tiny", one)
        hub.add("datasets", "BeIR/tiny", write_dataset(tmp_path / "two", [queries, corpus]))
        (tmp_path / "qrels").mkdir()
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row.values())) for row in judged)]
        (tmp_path / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
        hub.add("datasets", "BeIR/tiny-qrels", tmp_path / "qrels")
        yield hub


def test_configurations_and_qrels_beside_them(hub, tmp_path):
    environment = loopback_environment(hub.address, tmp_path)
    command = [sys.executable, "-c", CODE, "mteb/tiny", "BeIR/tiny"]
    for offline in ("0", "1"):  # the second time from the cache
        done = subprocess.run(
            command, env=environment | {"HF_HUB_OFFLINE": offline}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            relevant, queries, corpus = json.loads(line)
            assert relevant == {"q1": {"d1": 1}, "q2": {"d2": 2}}
            assert queries == ["query 1", "query 2"]
            assert corpus == [f"On document {number}" for number in range(3)]
        assert len(done.stdout.splitlines()) == 2
    outside = tmp_path / "outside.txt"
    assert not outside.exists() or not outside.read_text()
