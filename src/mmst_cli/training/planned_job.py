"""What a plan looks at: rows, a model without weights as it is trained, arguments, and what makes batches."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, Trainer

from mmst_cli.config.rules_loss import training_datasets
from mmst_cli.config.schema import Attention, Config
from mmst_cli.errors import DataError
from mmst_cli.evaluation.evaluator_suite import Evaluator, build_evaluator
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.model.adapter import add_adapter
from mmst_cli.model.large_images import shrink_large_images
from mmst_cli.model.load_model import held_in
from mmst_cli.model.precision import Precision, declared_precision
from mmst_cli.model.prompts import TASKS, column_prompts
from mmst_cli.model.raw_pixels import RawPixels
from mmst_cli.planning.counted_operations import recomputed_alike
from mmst_cli.planning.sampled_columns import InputColumn
from mmst_cli.preparing.prepared_config import load_rows
from mmst_cli.preparing.prepared_model import declared_dims, prepare_model, with_own_reader
from mmst_cli.retrieval.data_card import Rows, readers_of
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.columns import RowSet
from mmst_cli.terminal import Terminal
from mmst_cli.training.collator import TypedCollator, build_collator, raw_pixels_for
from mmst_cli.training.mixing import loss_rows
from mmst_cli.training.optimizer_state import bytes_a_number, step_of
from mmst_cli.training.training_start import build_arguments
from mmst_cli.vectors.forward_pass import prompt_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_STATE = {"adafactor": 0.02, "sgd": 0.0, "lion": 4.0, "8bit": 2.0, "4bit": 1.0}
"""Part of an optimizer's name to bytes of state a number, of those that don't run on this machine."""
_ONLY_HERE = (
    "use_cpu",
    "bf16",
    "fp16",
    "tf32",
    "bf16_full_eval",
    "fp16_full_eval",
    "torch_compile",
    "full_determinism",
)
"""Fields of ``training`` about the device, which is another one."""


@dataclass(frozen=True)
class PlannedJob:
    """What a plan looks at."""

    config: Config
    model: SentenceTransformer
    """On the meta device, as it is trained: frozen, with its adapter, in its dtype, with checkpointing."""
    rows: dict[str, Rows]
    loss_rows: dict[str, RowSet]
    """Those that the loss is computed on, weighted, by dataset."""
    args: Any
    """The trainer's."""
    collator: TypedCollator
    raw: RawPixels | None
    evaluators: dict[str, Evaluator]
    precision: Precision
    """Of forward passes on the device."""
    processes: int = 1
    """That train together, each on a device of its own."""


def job_without_weights(config: Config, terminal: Terminal, processes: int = 1) -> PlannedJob:
    """Load rows, and build the model that trains on them on a GPU from its configs alone.

    Args:
        config: the whole config.
        terminal: where to warn and to show progress.
        processes: that train together.

    Raises:
        MmstError: the first thing that doesn't fit.
    """
    bad_rows = BadRows.of(config.datasets, terminal)
    rows = load_rows(config, list(config.datasets), bad_rows, terminal)
    return replace(_job_on(config, rows, torch.device("cuda")), processes=processes)


def changed_job(job: PlannedJob, config: Config, device: torch.device) -> PlannedJob:
    """Return the job of a config that differs in keys of its model, media or training, on the same rows.

    Args:
        job: what was looked at.
        config: the other config.
        device: what kind of device the run is on.
    """
    same = config.model == job.config.model and config.media == job.config.media
    if same and _checkpointing(config) == _checkpointing(job.config):
        return replace(
            job, config=config, args=arguments_anywhere(config), precision=declared_precision(config.training)
        )
    changed = _job_on(config, {name: _read_anew(data, config) for name, data in job.rows.items()}, device)
    return replace(changed, processes=job.processes)


def _job_on(config: Config, rows: dict[str, Rows], device: torch.device) -> PlannedJob:
    # Which kernels there are depends on the machine.
    section = config.model.model_copy(update={"attn_implementation": str(Attention.auto)})
    model = prepare_model(
        section, None, rows, prompts=config.prompts, dims=declared_dims(config), seed=config.seed
    ).model
    shrink_large_images(model, [reader for data in rows.values() for reader in readers_of(data)])
    _hold_as_declared(model, config, device)
    args, used = arguments_anywhere(config), loss_rows(config, rows)
    collator, raw = batching_of(config, model, used, args)
    evaluators = {
        name: build_evaluator(name, section, rows[section.dataset], Precision())
        for name, section in config.evaluators.items()
    }
    return PlannedJob(config, model, rows, used, args, collator, raw, evaluators, declared_precision(config.training))


def batching_of(
    config: Config, model: SentenceTransformer, used: Mapping[str, RowSet], args: Any
) -> tuple[TypedCollator, RawPixels | None]:
    """Return what makes batches of the rows of a loss for a model, and how it hands over pixels."""
    raw = raw_pixels_for(model, list(used.values()))
    return build_collator(model, args, list(used.values()), column_prompts(config, used), raw), raw


def _read_anew(data: Rows, config: Config) -> Rows:
    """Return rows that are read as a changed config says, leaving those that were given as they are."""
    if not isinstance(data, RowSet):
        return data
    rows = with_own_reader(data)
    rows.reader.settings = config.media
    return rows


def _checkpointing(config: Config) -> tuple[Any, ...]:
    return tuple(config.training.get(f"{what}_checkpointing") for what in ("gradient", "activation"))


def _hold_as_declared(model: SentenceTransformer, config: Config, device: torch.device) -> None:
    """Hold a model without weights in the dtype that it has on a device, with its adapter and its checkpointing."""
    dtype = None if config.model.routes else held_in(config.model, device)
    if dtype is not None:
        model.to(dtype)
    if config.model.attn_implementation == str(Attention.eager):
        for module in model.modules():
            if isinstance(module, PreTrainedModel):
                module.set_attn_implementation(str(Attention.eager))
    if config.model.adapter is not None:
        # Without values nothing is held in fewer bits; what that saves is reckoned with the weights.
        add_adapter(model, config.model.model_copy(update={"quantization": None}), config.seed)
    if any(_checkpointing(config)):
        training = config.training
        given = training.get("activation_checkpointing_kwargs") or training.get("gradient_checkpointing_kwargs") or {}
        own = {name: given[name] for name in ("every_n_layers", "offload") if name in given}
        # Torch would ask the device for its random state, and there is none without values.
        told = {"use_reentrant": False, "preserve_rng_state": False, "context_fn": recomputed_alike}
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=told, **own)


def arguments_anywhere(config: Config) -> Any:
    """Return the trainer's arguments without what concerns the device, which this machine may not have."""
    training = {name: value for name, value in config.training.items() if name not in _ONLY_HERE}
    elsewhere = config.model_copy(update={"training": {**training, "use_cpu": True, "report_to": "none"}})
    with tempfile.TemporaryDirectory() as folder:
        return build_arguments(elsewhere, folder)  # type: ignore[arg-type]


def bytes_of_state(args: Any, model: SentenceTransformer) -> tuple[dict[torch.dtype, float], str, bool]:
    """Return dtype to bytes of the optimizer's state a number, what it is called, and whether that was tried here."""
    name = str(getattr(args.optim, "value", args.optim))
    dtypes = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    try:
        kind, arguments = Trainer.get_optimizer_cls_and_kwargs(args, model)
        return (
            {dtype: bytes_a_number(step_of(kind, arguments, torch.device("cpu"), dtype)) for dtype in dtypes},
            name,
            True,
        )
    except Exception:  # a library that isn't here, or that wants a GPU
        known = next((size for part, size in _STATE.items() if part in name), None)
        return {dtype: 2.0 * dtype.itemsize if known is None else known for dtype in dtypes}, name, False


def input_columns(job: PlannedJob) -> list[tuple[InputColumn, int | None]]:
    """Return the columns of inputs that training and evaluators read, with how many inputs each has at a time."""
    found: list[tuple[InputColumn, int | None]] = []
    for name in training_datasets(job.config):
        rows = job.loss_rows[name]
        for column in rows.inputs:
            prepare = partial(job.collator.features_of, rows, column.name)
            found.append((InputColumn(rows, column, prepare, False), None if rows.is_stream else len(rows)))
    seen: dict[str, int] = {}
    for name, section in job.config.evaluators.items():
        evaluator = job.evaluators[name]
        seen[section.dataset] = seen.get(section.dataset, 0) + 1
        if seen[section.dataset] == 1:
            found += _evaluated(job, section.dataset, evaluator)
    return found


def _evaluated(job: PlannedJob, dataset: str, evaluator: Evaluator) -> list[tuple[InputColumn, int | None]]:
    if isinstance(evaluator, MatryoshkaRetrievalEvaluator):
        data = evaluator.retrieval
        queries, documents = len(data.query_ids), len(data.corpus_rows)
        pairs = [(data.query_rows, data.anchor, queries)]
        pairs += [(data.corpus_rows, column, documents) for column in data.documents]
    else:
        rows = job.rows[dataset]
        if not isinstance(rows, RowSet):
            return []
        pairs = [(rows, column, len(rows)) for column in rows.inputs]
    found: list[tuple[InputColumn, int | None]] = []
    for rows, column, count in pairs:
        task = TASKS[column.role]
        options = {"task": task, "prompt": prompt_of(job.model, task, None, None)}
        found.append((InputColumn(rows, column, partial(_encoded, job, options), True), count))
    return found


def _encoded(job: PlannedJob, options: Mapping[str, Any], inputs: list[Any]) -> Mapping[str, Any]:
    return job.collator.preprocess_fn(inputs, **options)  # type: ignore[no-any-return]


def check_plannable(rows: Mapping[str, Rows]) -> None:
    """Notice sets that hold no row.

    Raises:
        DataError: one does.
    """
    for key, data in rows.items():
        if isinstance(data, RowSet) and not data.is_stream and not len(data):
            raise DataError(f"datasets.{key}: it holds no rows, so there is nothing to plan.")
