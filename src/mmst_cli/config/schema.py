"""The whole config file, on one page. Every field is followed by what it means, with its unit.

Nothing here imports torch: a mistake in a config is reported before any library is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING


class Use(StrEnum):
    """What a dataset is for."""

    train = "train"
    eval = "eval"


class Layout(StrEnum):
    """How a dataset is laid out: rows, or a corpus, queries and judgements in three tables, as BEIR has them."""

    rows = "rows"
    beir = "beir"


class Role(StrEnum):
    """What a column is to the loss; losses go by position: anchor, positive, negatives as listed, label."""

    anchor = "anchor"
    positive = "positive"
    negative = "negative"
    label = "label"


class Modality(StrEnum):
    """What the values of a column are."""

    text = "text"
    image = "image"
    audio = "audio"
    video = "video"


class Dtype(StrEnum):
    """What the weights are held in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Attention(StrEnum):
    """The attention implementations of transformers."""

    auto = "auto"
    flash_attention_2 = "flash_attention_2"
    sdpa = "sdpa"
    eager = "eager"


@dataclass
class ModelConfig:
    """Which model, and how it is loaded."""

    name_or_path: str = MISSING
    """A hub id, a model folder, a run folder, or `builtin:tiny-qwen3-vl`."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; the default branch if left out."""
    dtype: Dtype = Dtype.auto
    """What the weights are held in; auto is the checkpoint's own on a GPU and float32 on a CPU."""
    attn_implementation: Attention = Attention.auto
    """auto takes flash_attention_2 where package, GPU and a half precision allow it, else sdpa."""
    processor: dict[str, Any] = field(default_factory=dict)
    """Arguments of the model's processor; `min_pixels` and `max_pixels` bound an image, in pixels."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Read that code first."""


@dataclass
class ColumnConfig:
    """One column of a dataset that the loss or an evaluator uses."""

    role: Role = MISSING
    """anchor, positive, negative or label."""
    modality: Modality = Modality.text
    """text, image, audio or video: checked on real rows. A label holds numbers, whatever stands here."""


@dataclass
class DatasetConfig:
    """One source of rows."""

    use: Use = MISSING
    """train, or eval: read by evaluators, and by the loss where no evaluator reads it."""
    path: str = MISSING
    """A hub id, a folder (save_to_disk, parquet, images), a .parquet, .jsonl or .csv file, or `builtin:pages`."""
    layout: Layout = Layout.rows
    """beir: `path` holds corpus, queries and qrels, as files or configurations, and `split` is that of qrels."""
    name: str | None = None
    """Configuration of a hub dataset, or `train` / `eval` of `builtin:pages`."""
    split: str = "train"
    """Split of the dataset; slices such as `train[:300]` work."""
    revision: str | None = None
    """Branch, tag or commit of a hub dataset."""
    max_rows: int | None = None
    """At most so many rows (beir: queries), chosen at random with `training.seed`, in their order; all if left out."""
    allow_urls: bool = False
    """Fetch media that are given as http(s) addresses. Refused otherwise."""
    columns: dict[str, ColumnConfig] = MISSING
    """Column name to role and modality; others are dropped. beir: `queries/text` and `corpus/text` where names meet."""


@dataclass
class LossConfig:
    """One layer of the loss; each wraps the one above it in the list."""

    type: str = MISSING
    """A class of sentence_transformers.losses, such as CachedMultipleNegativesRankingLoss."""
    args: dict[str, Any] = field(default_factory=dict)
    """Its arguments, but for the model and the inner loss."""


@dataclass
class EvaluatorConfig:
    """One evaluator; its name in the file is the name in its metrics."""

    type: str = MISSING
    """MatryoshkaRetrievalEvaluator, or a class of sentence_transformers.evaluation."""
    dataset: str = MISSING
    """Name of the dataset in `datasets` that it reads."""
    dims: list[int] = field(default_factory=list)
    """Embedding dimensions at which MatryoshkaRetrievalEvaluator measures; the model's own if left out."""
    precisions: list[str] = field(default_factory=list)
    """Precisions at which it measures: float32, float16, int8, binary, binary-rescored; float32 if left out."""
    deduplicate: bool = True
    """Count identical documents as one, relevant to every query that names any of them."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the evaluator, such as `batch_size` (inputs per forward pass)."""


@dataclass
class Config:
    """A whole run."""

    model: ModelConfig = MISSING
    """The model to train or evaluate."""
    datasets: dict[str, DatasetConfig] = MISSING
    """The datasets, by a name of your choice."""
    run_name: str = "run"
    """Name of the run; also the trainer's run name."""
    output_dir: str = "runs/${run_name}"
    """The run folder: checkpoints, the final model, its evaluations and the record of how it was made."""
    matryoshka_dims: list[int] = field(default_factory=list)
    """Embedding dimensions to train and measure, for use elsewhere in the file as ${matryoshka_dims}."""
    loss: list[LossConfig] = field(default_factory=list)
    """The loss, innermost first. Needed for training."""
    evaluators: dict[str, EvaluatorConfig] = field(default_factory=dict)
    """The evaluators, by name."""
    training: dict[str, Any] = field(default_factory=dict)
    """Fields of SentenceTransformerTrainingArguments, under their own names."""
