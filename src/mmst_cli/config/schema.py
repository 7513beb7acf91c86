"""The whole config file, on one page. Every field is followed by what it means, with its unit.

Nothing here imports torch: a mistake in a config is reported before any library is loaded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, field_validator

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

SECRETS = ("hub_token",)
"""Fields of ``training`` that are written down nowhere."""
STRATEGIES = ("eval_strategy", "save_strategy", "logging_strategy")
"""Fields of ``training`` that may be `no`."""
SELF = "self"
"""What names the model of the file where it mines negatives."""
AUTO = "auto"
"""What stands for a size that the memory of the device decides."""


class Choice(StrEnum):
    """One of several words, which a file gives as text."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take the text for the member, where a strict schema would take the member alone."""
        return {**handler(source), "strict": False}  # type: ignore[return-value]


class Section(BaseModel):
    """A mapping of the file: no keys but its own, and no value of another type taken for the one that is meant."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Use(Choice):
    """What a dataset is for."""

    train = "train"
    eval = "eval"


class Layout(Choice):
    """How a dataset is laid out: rows, or a corpus, queries and judgements in three tables, as BEIR has them."""

    rows = "rows"
    beir = "beir"


class OnBadRow(Choice):
    """What becomes of a row of which an input can't be read."""

    error = "error"
    skip = "skip"


class Role(Choice):
    """What a column is to the loss; losses go by position: anchor, positive, negatives as listed, label."""

    anchor = "anchor"
    positive = "positive"
    negative = "negative"
    label = "label"


class Modality(Choice):
    """What the values of a column are."""

    text = "text"
    image = "image"
    audio = "audio"
    video = "video"
    message = "message"
    """A chat: a list of messages, each with `role` and `content`."""
    mixed = "mixed"
    """Several of the others in one input."""


class Pooling(Choice):
    """How the vectors of tokens become one."""

    lasttoken = "lasttoken"
    mean = "mean"
    cls = "cls"


class Dtype(Choice):
    """What the weights are held in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Fill(Choice):
    """Where the negatives come from that a row has too few of."""

    repeat = "repeat"
    """Its own, from the first."""
    sample = "sample"
    """Positives and negatives of other rows, drawn at random."""
    mine = "mine"
    """Mined before training, as the `mine` section of the dataset says."""


class AdapterInit(Choice):
    """How the matrices of an adapter begin; each leaves the model as it is until the first step, but for rounding."""

    default = "default"
    """A at random, B zero."""
    gaussian = "gaussian"
    orthogonal = "orthogonal"
    """A and B orthogonal, and their product zero. The rank is even."""


class FourBits(Choice):
    """What four bits of a quantised weight stand for."""

    nf4 = "nf4"
    fp4 = "fp4"


class Sampling(Choice):
    """Which of the documents that may be negatives are taken."""

    top = "top"
    random = "random"


class Index(Choice):
    """What finds the nearest documents."""

    exact = "exact"
    faiss = "faiss"


class Attention(Choice):
    """The attention implementations of transformers that have a name; the others are kernels of the hub."""

    auto = "auto"
    flash_attention_2 = "flash_attention_2"
    flash_attention_3 = "flash_attention_3"
    flash_attention_4 = "flash_attention_4"
    flex_attention = "flex_attention"
    sdpa = "sdpa"
    eager = "eager"


class RouteConfig(Section):
    """The encoder of one route of a model that is put together from several."""

    name_or_path: str
    """A hub id, a model folder or a built-in model; a raw checkpoint or a finished embedding model."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    pooling: Pooling | None = None
    """lasttoken, mean or cls; that of the model if left out, or mean for a raw checkpoint."""
    processor: dict[str, Any] = {}
    """Arguments of this encoder's processor."""


class AdapterConfig(Section):
    """A LoRA adapter: small matrices beside the layers of a model, which alone are trained."""

    r: int = 32
    """Rank: the width of the matrices."""
    alpha: int = 32
    """What they compute is scaled by alpha / r."""
    dropout: float = 0.05
    """Share of a layer's inputs that are dropped before the matrices, in training."""
    target_modules: Any = "all-linear"
    """all-linear; ends of module names, as `[q_proj, v_proj]`; or a regular expression of whole names."""
    modules_to_save: list[str] = []
    """Ends of names of modules that are trained whole, where not frozen, and saved with the adapter."""
    use_dora: bool = False
    """Train the length of each weight's rows apart from their direction (DoRA): slower, sometimes better."""
    init: AdapterInit = AdapterInit.default
    """default, gaussian or orthogonal."""
    merge: bool = True
    """End with a model that needs neither adapter nor peft; false ends with the adapter alone as `model/`."""


class QuantizationConfig(Section):
    """Weights held in fewer bits by bitsandbytes, while an adapter over them is trained: QLoRA. Needs a CUDA GPU."""

    bits: int = 4
    """4 or 8 for each weight of a linear layer."""
    type: FourBits = FourBits.nf4
    """What four bits stand for: nf4 or fp4."""
    double: bool = True
    """Of four bits: quantise the scales as well, which saves 0.4 bits a weight."""
    skip_modules: list[str] = []
    """Names of modules that stay as `dtype` has them, such as `visual`."""


class ModelConfig(Section):
    """Which model, and how it is loaded or put together."""

    name_or_path: str = ""
    """A hub id, a model folder, a run folder, or a built-in model: `builtin:tiny-qwen3-vl`. Left out with routes."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; the default branch if left out."""
    dtype: Dtype = Dtype.auto
    """What the weights are held in; auto is the checkpoint's own on a GPU, float32 on a CPU and with routes."""
    attn_implementation: str = "auto"
    """auto is flash_attention_2 where package, GPU and half precision allow it, else sdpa; or a name or hub kernel."""
    processor: dict[str, Any] = {}
    """Arguments of the model's processor; `min_pixels` and `max_pixels` bound an image, in pixels."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Read that code first."""
    pooling: Pooling | None = None
    """How a raw checkpoint's token vectors become one: lasttoken, mean or cls. A finished model has its own."""
    normalize: bool | None = None
    """End with vectors of length 1; true for models that are put together here, else as the model has it."""
    routes: dict[str, RouteConfig] = {}
    """One encoder per modality (text, image, audio, video) or side (query, document), instead of name_or_path."""
    dimension: int | None = None
    """With routes: the common size of the vectors; every route ends in a Dense projection to it."""
    frozen: list[str] = []
    """Parameters that are not trained: regular expressions searched in names, as `visual` or `sub_modules\\.text`."""
    linear_patches: bool = False
    """Compute patch embeddings that are convolutions as matrix products: other last digits, far faster on some GPUs."""
    adapter: AdapterConfig | None = None
    """Train a LoRA adapter and leave the model itself as it is; `{}` for one as it comes."""
    quantization: QuantizationConfig | None = None
    """Hold the model in four or eight bits a weight while an adapter is trained; `{}` for four."""


class MediaConfig(Section):
    """How images, sounds, clips and documents are read, in training, evaluation and encoding alike."""

    max_seconds: float | None = None
    """Only so much of a sound or clip is read, from its beginning, in seconds. Very long ones are refused otherwise."""
    fps: float | None = None
    """Frames a second taken of a clip and given to the model as they are; its processor chooses if left out."""
    max_frames: int | None = None
    """At most so many frames of a clip, spread evenly, and given to the model as they are."""
    max_pixels: int | None = None
    """Frames with more pixels are scaled down to so many, in width x height."""
    dpi: int = 150
    """Resolution at which the pages of a PDF are drawn, in dots per inch."""
    fast_jpeg: bool = False
    """Decode a JPEG at 1/2, 1/4 or 1/8 of its size where the model sees it smaller still: faster, other last bits."""

    def record(self) -> dict[str, Any]:
        """Return the settings as records of jobs hold them: without those that older records don't know, unless set."""
        return self.model_dump(exclude=None if self.fast_jpeg else {"fast_jpeg"})


class ColumnConfig(Section):
    """One column of a dataset that the loss or an evaluator uses."""

    role: Role
    """anchor, positive, negative or label."""
    modality: Modality = Modality.text
    """text, image, audio, video, message or mixed (cells that are mappings of these): checked on real rows."""
    parts: dict[str, str] = {}
    """One input made of several columns: modality to column, such as `{text: ocr, image: page}`."""
    message: list[dict[str, Any]] = []
    """One chat made of columns: messages with `role` and `content`, in which `{name}` stands for a column's text."""
    pages: Any = None
    """For cells that name PDF files: all, first, or a list of page numbers from 1. `file.pdf#3` is always page 3."""
    fill: Fill | None = None
    """For lists of negatives: repeat, sample or mine what a row has too few of for `take`; an error if left out."""
    take: int | None = None
    """For cells that are lists, a label's too: use so many entries of each, from the first; all if left out."""


class LossConfig(Section):
    """One layer of the loss; each wraps the one above it in the list."""

    type: str
    """A class of sentence_transformers.losses, such as CoSENTLoss, or your own: `my_package.losses.MyLoss`."""
    args: dict[str, Any] = {}
    """Its arguments, but for the model and the inner loss; a Cached loss takes `mini_batch_size: auto`: what fits."""


class MineConfig(Section):
    """How hard negatives are mined among the positives; names as in `mine_hard_negatives` of sentence-transformers."""

    model: str | None = None
    """A hub id, a model or run folder, or a built-in model; `self`, or left out: the model of the file."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    every_epochs: int | None = None
    """In training: mine again as every so many epochs begin, with the model as trained so far; never if left out."""
    num_negatives: int = 3
    """Negatives for each row; a row that doesn't get so many is left out."""
    range_min: int = 0
    """So many of the nearest documents that could be negatives are skipped."""
    range_max: int | None = None
    """At most so many of the nearest are considered; chosen from the other settings if left out."""
    max_score: float | None = None
    """A negative's similarity to the anchor is this at most."""
    min_score: float | None = None
    """A negative's similarity to the anchor is this at least."""
    absolute_margin: float | None = None
    """A negative's similarity is at least so far below that of the positive."""
    relative_margin: float | None = None
    """The same as a share of the positive's similarity: 0.05 keeps what is 5% below it, and all under that."""
    min_positive_score: float | None = None
    """Rows whose own positive scores below this are left out, as doubtful, and told."""
    sampling_strategy: Sampling = Sampling.top
    """top takes the most similar ones, random any of those considered, drawn with `training.seed`."""
    second_model: str | None = None
    """A CrossEncoder or another embedding model, whose scores the limits and margins then are about."""
    index: Index = Index.exact
    """exact compares every pair; faiss does the same by its own code."""
    batch_size: int = 32
    """Inputs per forward pass."""

    @field_validator("model")
    @classmethod
    def _take_self_for_none(cls, model: str | None) -> str | None:
        """Take `self` for what it stands for."""
        return None if model == SELF else model


class DatasetConfig(Section):
    """One source of rows."""

    use: Use
    """train, or eval: read by evaluators, and by the loss where no evaluator reads it."""
    path: str
    """A hub id, a folder, a .parquet, .jsonl, .csv or WebDataset .tar file, a glob, `s3://...`, or `builtin:pages`."""
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
    streaming: bool = False
    """Read a training set while training on it, without storing it. Needs `training.max_steps`."""
    sql: str | None = None
    """A query over the table `rows`, run by DuckDB: `select query, page as image from rows where lang = 'en'`."""
    weight: float = 1.0
    """How often a row is seen in an epoch, beside those of other training sets: 2 is twice, 0.5 every second row."""
    loss: list[LossConfig] = []
    """A loss of its own for this training set, innermost first; the `loss` of the file if left out."""
    prompts: dict[str, str] = {}
    """Role to prompt for this dataset's columns, in mining and training; the `prompts` of the file where left out."""
    allow_urls: bool = False
    """Fetch media that are given as http(s) addresses. Refused otherwise."""
    on_bad_row: OnBadRow = OnBadRow.error
    """error stops at a row that can't be read; skip leaves it out, tells of it and lists it in `skipped_rows.jsonl`."""
    max_bad_rows: int | None = None
    """With `on_bad_row: skip`: more broken rows than this are an error; 100 if left out."""
    mine: MineConfig | None = None
    """Mine hard negatives before training, kept in the cache until data, model or settings change; `{}` as it comes."""
    prepare: bool = False
    """Read each image once and keep it in the cache, losslessly, at the size that the model's processor gives it."""
    columns: dict[str, ColumnConfig]
    """Column name to role and modality; others are dropped. beir: `queries/text` and `corpus/text` where names meet."""


class EvaluatorConfig(Section):
    """One evaluator; its name in the file is the name in its metrics."""

    type: str
    """MatryoshkaRetrievalEvaluator, one of sentence_transformers.evaluation, or your own: `my_module.MyEvaluator`."""
    dataset: str
    """Name of the dataset in `datasets` that it reads."""
    dims: list[int] = []
    """Embedding dimensions at which MatryoshkaRetrievalEvaluator measures; the model's own if left out."""
    precisions: list[str] = []
    """Precisions at which it measures: float32, float16, int8, binary, binary-rescored; float32 if left out."""
    deduplicate: bool = True
    """Count identical documents as one, relevant to every query that names any of them."""
    args: dict[str, Any] = {}
    """Further arguments of the evaluator, such as `batch_size` (inputs per forward pass)."""


class Config(Section):
    """A whole run."""

    model: ModelConfig
    """The model to train or evaluate."""
    datasets: dict[str, DatasetConfig]
    """The datasets, by a name of your choice."""
    run_name: str = "run"
    """Name of the run; also the trainer's run name."""
    output_dir: str = "runs/${run_name}"
    """The run folder: checkpoints, the final model, its evaluations and the record of how it was made."""
    matryoshka_dims: list[int] = []
    """Embedding dimensions to train and measure, for use elsewhere in the file as ${matryoshka_dims}."""
    media: MediaConfig = MediaConfig()
    """How images, sounds, clips and documents are read."""
    prompts: dict[str, str] = {}
    """Role (anchor, positive) to the prompt before its inputs: in training, evaluation and the saved model alike."""
    loss: list[LossConfig] = []
    """The loss, innermost first. Needed for training, here or at every training set."""
    evaluators: dict[str, EvaluatorConfig] = {}
    """The evaluators, by name."""
    training: dict[str, Any] = {}
    """Fields of SentenceTransformerTrainingArguments, under their own names."""

    @field_validator("training")
    @classmethod
    def _take_no_for_text(cls, training: dict[str, Any]) -> dict[str, Any]:
        """Take the `no` of `save_strategy: no`, which YAML takes for false, as it is meant."""
        return {name: "no" if value is False and name in STRATEGIES else value for name, value in training.items()}

    @property
    def seed(self) -> int:
        """Of every draw that a run makes: `training.seed`, else the trainer's own."""
        return int(self.training.get("seed", 42))
