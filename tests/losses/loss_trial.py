"""Every loss of sentence-transformers, and ours, trained for two steps in each way it may be used, or refused."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from small_job import write_job
from text_job import text_job

from mmst_cli.config.rules import load_checked_config
from mmst_cli.config.signatures import loss_names
from mmst_cli.errors import ConfigError
from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
from mmst_cli.runs import RunFolder
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.training.training_job import TrainingJob

DIMS = [128, 32, 8]
ANCHOR, POSITIVE, LABEL = ({"role": role} for role in ("anchor", "positive", "label"))
PAIR = {"query": ANCHOR, "doc": POSITIVE}
ONE = {"near": {"role": "negative", "take": 1}}
THREE = {"near": {"role": "negative"}}
MATRYOSHKA = {"type": "MatryoshkaLoss", "args": {"matryoshka_dims": DIMS}}
LAYERS = {"type": "AdaptiveLayerLoss"}
GUIDE = {"guide": {"name_or_path": "builtin:tiny-text"}}
_BATCH_TRIPLET = ("BatchAllTripletLoss", "BatchHardTripletLoss", "BatchHardSoftMarginTripletLoss")


def all_rows() -> list[dict[str, Any]]:
    """Return rows with whatever any loss takes."""
    vector = [(k % 13 - 6) / 13 for k in range(128)]
    return [
        {
            "query": f"where is stone {i}",
            "doc": f"by hill {i * 7 % 24}",
            "near": [f"by lake {i}", f"by sea {i}", f"by dune {i}"],
            "kind": i % 3,
            "same": i % 2,
            "likeness": i / 24,
            "two": [0.9, i / 24],
            "four": [0.9, i / 24, 0.2, 0.1],
            "vector": vector[i:] + vector[:i],
            "vectors": [vector[i:] + vector[:i], vector],
        }
        for i in range(24)
    ]


@dataclass(frozen=True)
class Case:
    """What a loss is given.

    Attributes:
        columns: those it is trained on alone and in wrappers.
        label: the label beside three negatives, where it isn't that of ``columns``; None for no label there.
        args: its arguments.
        sampler: what draws its batches.
    """

    columns: dict[str, Any]
    label: str | None = ""
    args: dict[str, Any] = field(default_factory=dict)
    sampler: str = "batch_sampler"

    @property
    def with_negatives(self) -> dict[str, Any]:
        """The columns with three negatives."""
        labels = {self.label: LABEL} if self.label else {n: c for n, c in self.columns.items() if c is LABEL}
        if self.label is None:
            labels = {}
        return {**PAIR, **THREE, **labels}


_LIKENESS, _SAME = Case({**PAIR, "likeness": LABEL}), Case({**PAIR, "same": LABEL})
CASES = {
    **dict.fromkeys(("CoSENTLoss", "CosineSimilarityLoss"), _LIKENESS),
    **dict.fromkeys(("ContrastiveLoss", "OnlineContrastiveLoss", "ContrastiveTensionLoss"), _SAME),
    **dict.fromkeys(_BATCH_TRIPLET, Case({"query": ANCHOR, "kind": LABEL}, sampler="group_by_label")),
    "BatchSemiHardTripletLoss": Case({"query": ANCHOR, "kind": LABEL}, sampler="group_by_label"),
    "AnglELoss": Case({**PAIR, "likeness": LABEL}, label=None),
    "ContrastiveTensionLossInBatchNegatives": Case({"query": ANCHOR}),
    "SoftmaxLoss": Case({**PAIR, "kind": LABEL}, args={"embedding_dimension": 128, "num_labels": 3}),
    "TripletLoss": Case({**PAIR, **ONE}),
    "MSELoss": Case({**PAIR, "vector": LABEL}),
    "EmbedDistillLoss": Case({**PAIR, "vectors": LABEL}, label="vector"),
    "MarginMSELoss": Case({**PAIR, **ONE, "two": LABEL}, label="four"),
    "DistillKLDivLoss": Case({**PAIR, **ONE, "two": LABEL}, label="four"),
    "GISTEmbedLoss": Case(PAIR, args=GUIDE),
    "CachedGISTEmbedLoss": Case(PAIR, args={**GUIDE, "mini_batch_size": 4}),
    "CachedMultipleNegativesRankingLoss": Case(PAIR, args={"mini_batch_size": 4}),
    "MegaBatchMarginLoss": Case(PAIR, args={"mini_batch_size": 4}),
    **dict.fromkeys(("MatryoshkaLoss", "Matryoshka2dLoss"), Case(PAIR, args={"matryoshka_dims": DIMS})),
}
"""Loss to what it is given; those that aren't here are given pairs."""
WRAPPERS = ("MatryoshkaLoss", "Matryoshka2dLoss", "AdaptiveLayerLoss")
"""Those are tried around MultipleNegativesRankingLoss."""

WAYS = ("alone", "in MatryoshkaLoss", "in AdaptiveLayerLoss", "with three negatives")


def try_loss(name: str, way: str, folder: Path) -> str:
    """Train two steps with a loss: return `yes`, or why it is refused before anything is loaded."""
    case = CASES.get(name, Case(PAIR))
    wrapper = {"in MatryoshkaLoss": [MATRYOSHKA], "in AdaptiveLayerLoss": [LAYERS]}.get(way, [])
    inner = [{"type": "MultipleNegativesRankingLoss"}] if name in WRAPPERS else []
    columns = case.with_negatives if way == "with three negatives" else case.columns
    config = text_job(folder, all_rows(), columns=columns, max_steps=2, learning_rate=1e-3, batch_sampler=case.sampler)
    config["loss"] = [*inner, {"type": name, "args": case.args}, *wrapper]
    terminal = Terminal(Console(file=StringIO()), json_results=True)
    quiet_libraries(terminal)
    try:
        checked = load_checked_config(write_job(config, folder / "job.yaml"))
    except ConfigError as error:
        return _reason(error, name)
    try:
        job = TrainingJob(checked, RunFolder(folder), prepare_evaluation(checked, terminal, ["train"]), terminal)
    except ConfigError as error:  # of rows: how many columns a list is, its file says
        return _reason(error, name)
    before = {key: value.clone() for key, value in job.model.state_dict().items()}
    trainer = job.build_trainer(folder, [])
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 2 and all(map(math.isfinite, losses)), losses
    assert any(not torch.equal(value, before[key]) for key, value in job.model.state_dict().items())
    return "yes"


def _reason(error: ConfigError, name: str) -> str:
    """Return the clause of a refusal that says why."""
    if found := re.search(rf"but {name} (takes .*?)\.(?: |$)", str(error)):
        return str(found[1])
    if found := re.search(rf"type: {name} (.*?)(?:, so it can't come first)?\. ", str(error)):
        return str(found[1])
    raise AssertionError(f"no refusal by a rule: {error}")


def caching(name: str) -> str:
    """Say whether a loss takes its batch in mini-batches, or which one does so in its place."""
    if name in WRAPPERS:
        return "no" if name != "MatryoshkaLoss" else "if what it wraps is"
    from sentence_transformers.sentence_transformer import losses

    if getattr(getattr(losses, name), "uses_gradient_cache", False):
        return "yes"
    return f"Cached{name}" if f"Cached{name}" in loss_names() else "no"
