"""Rows to mine in, and models that mine in milliseconds."""

import random

import pytest
from datasets import Dataset

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, MediaConfig, MineConfig, Modality, Role, Use
from mmst_cli.mining.negative_search import Search, mine_rows
from mmst_cli.model.model_media import fit_media
from mmst_cli.model.precision import Precision
from mmst_cli.rows.row_preparation import prepare_rows

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ro", "si") for b in ("ban", "del", "fir", "gol", "tus")]


@pytest.fixture(scope="session")
def text_model():
    """`builtin:tiny-text`, shared: leave it as it is."""
    from sentence_transformers import SentenceTransformer

    from mmst_cli.builtin.registry import build_builtin

    return SentenceTransformer(str(build_builtin("builtin:tiny-text")), device="cpu")


@pytest.fixture(scope="session")
def text_pairs():
    """A function giving (query, answer) pairs, some queries with several answers, some answers with several queries."""

    def make(count, seed=0):
        rng = random.Random(seed)
        queries = [" ".join(rng.sample(WORDS, rng.randint(2, 5))) for _ in range(max(1, 2 * count // 3))]
        answers = [f"{query} {' '.join(rng.sample(WORDS, rng.randint(1, 8)))}" for query in queries]
        pairs = [(query, rng.choice(answers)) for query in rng.choices(queries, k=count // 4)]
        pairs += list(zip(queries, answers, strict=True))
        return [{"query": q, "answer": a} for q, a in dict.fromkeys(rng.sample(pairs, len(pairs)))]

    return make


@pytest.fixture
def rows_of(tmp_path):
    """A function that writes rows as parquet and prepares them as a dataset section does."""

    def prepare(rows, anchor="text", positive="text", names=("query", "answer"), features=None, **section):
        path = tmp_path / "rows.parquet"
        Dataset.from_list(list(rows), features=features).to_parquet(str(path))
        columns = section.pop("columns", None) or {
            names[0]: ColumnConfig(role=Role.anchor, modality=Modality(anchor)),
            names[1]: ColumnConfig(role=Role.positive, modality=Modality(positive)),
        }
        config = DatasetConfig(use=Use.train, path=str(path), columns=columns, **section)
        return prepare_rows("train", config, 42, MediaConfig())

    return prepare


@pytest.fixture
def mine(tmp_path, quiet):
    """A function that mines in rows with a loaded model."""

    def run(rows, model, folder="work", seed=42, second=None, rows_per_part=2000, **settings):
        fit_media(model, [rows.reader])
        work = tmp_path / folder
        work.mkdir(exist_ok=True)
        search = Search(
            rows, model, MineConfig(**settings), work, Precision(), seed, second, rows_per_part=rows_per_part
        )
        return mine_rows(search, quiet)

    return run


@pytest.fixture(scope="session")
def make_cross_encoder(text_model, tmp_path_factory):
    """A function that saves a tiny CrossEncoder as sentence-transformers does, and gives its folder."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification

    def make(labels=1, broken=False):
        torch.manual_seed(0)
        raw, saved = (tmp_path_factory.mktemp(name) for name in ("raw", "saved"))
        tokenizer = text_model.tokenizer
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=labels
        )
        model = BertForSequenceClassification(config)
        if broken:
            model.classifier.bias.data.fill_(float("nan"))
        model.save_pretrained(raw)
        tokenizer.save_pretrained(raw)
        CrossEncoder(str(raw), device="cpu").save_pretrained(str(saved))
        return saved

    return make


@pytest.fixture(scope="session")
def cross_encoder(make_cross_encoder):
    """Folder of a tiny CrossEncoder."""
    return make_cross_encoder()
