"""What losses and evaluators take: those of sentence-transformers, read from their source without importing them.

Importing sentence-transformers costs seconds and loads torch; parsing the few files that a config names
costs milliseconds. Where a package is not installed, names and signatures come back empty or None, and the
rules leave out what they can't check.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mmst_cli.config.arguments import Parameter, Signature, needs_python_object
from mmst_cli.config.library_source import body, exported_names, find_class, initializer, package_file
from mmst_cli.config.user_classes import is_dotted, user_evaluator_signature, user_loss_signature

OWN_EVALUATOR = "MatryoshkaRetrievalEvaluator"
# What doesn't come from `args`.
_OWN_FILLED = ("retrieval", "dims", "precisions", "deduplicate", "ranges", "name", "precision", "workers")

_NOT_EVALUATORS = {"BaseEvaluator", "SentenceEvaluator", "SequentialEvaluator"}
# The dataclass and its bases, the outermost base first.
_ARGUMENT_CLASSES = (
    ("transformers", "training_args.py", "TrainingArguments"),
    ("sentence_transformers", "base/training_args.py", "BaseTrainingArguments"),
    ("sentence_transformers", "sentence_transformer/training_args.py", "SentenceTransformerTrainingArguments"),
)

TRAINER_FIELDS_ELSEWHERE = {
    "batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "lr": "learning_rate",
    "steps": "max_steps",
    "warmup": "warmup_steps",
    "evaluation_steps": "eval_steps",
    "evaluation_strategy": "eval_strategy",
    "scheduler": "lr_scheduler_type",
    "optimizer": "optim",
    "num_workers": "dataloader_num_workers",
}
"""What fields of the trainer are called in other tools."""


@dataclass(frozen=True)
class LossInput:
    """One line of a loss's table of inputs; None where any number of columns, or any label, will do."""

    at_least: int | None
    at_most: int | None
    label: bool | None
    lists: bool = False
    """Whether a label is a list of numbers: a teacher's scores, or its vector."""
    pairs: bool = False
    """Whether a label is 1 where two inputs belong together, else 0."""

    def fits(self, columns: int, label: bool, *, or_more: bool = False) -> bool:
        """Say whether so many input columns, or perhaps more, with or without a label, are what this line describes."""
        return (
            (self.at_least is None or columns >= self.at_least or or_more)
            and (self.at_most is None or columns <= self.at_most)
            and (self.label is None or label == self.label)
        )


# In the order in which they are offered; those left out come after these.
_USUAL = (
    *("MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss", "CoSENTLoss", "CosineSimilarityLoss"),
    *("AnglELoss", "TripletLoss", "ContrastiveLoss", "OnlineContrastiveLoss", "MarginMSELoss", "DistillKLDivLoss"),
    *("BatchAllTripletLoss", "BatchHardTripletLoss", "BatchHardSoftMarginTripletLoss", "BatchSemiHardTripletLoss"),
)

_UNDOCUMENTED_INPUTS = {
    # The documentation says "no label"; the code takes one, and without it compares the token ids of the inputs.
    "ContrastiveTensionLoss": (LossInput(2, 2, None, pairs=True),),
    # One line of its table is no description of columns. It is given a label, and doesn't look at it.
    "DenoisingAutoEncoderLoss": (LossInput(2, 2, False),),
}


@cache
def loss_names() -> tuple[str, ...]:
    """The names of the losses of sentence-transformers; empty if it is not installed."""
    # ContrastiveTensionLossInBatchNegatives is a loss; BatchHardTripletLossDistanceFunction is none.
    return tuple(n for n in exported_names("losses") if n.endswith(("Loss", "LossInBatchNegatives")))


@cache
def evaluator_names() -> tuple[str, ...]:
    """The names of the evaluators of sentence-transformers, and ours; empty if it is not installed."""
    endings = ("Evaluator", "EvaluatorFromDataFrame")
    names = [name for name in exported_names("evaluation") if name.endswith(endings)]
    return (OWN_EVALUATOR, *(n for n in names if n not in _NOT_EVALUATORS)) if names else ()


@cache
def loss_signature(name: str) -> Signature | None:
    """What the loss ``name`` is constructed with, or None if there is no such loss.

    Raises:
        ConfigError: it is the path of a user's own, and that can't be had.
    """
    if is_dotted(name):
        return user_loss_signature(name)
    return _signature("losses", name) if name in loss_names() else None


@cache
def evaluator_signature(name: str) -> Signature | None:
    """What the evaluator ``name`` is constructed with, or None if there is no such evaluator.

    Raises:
        ConfigError: it is the path of a user's own, and that can't be had.
    """
    if is_dotted(name):
        return user_evaluator_signature(name)
    if name == OWN_EVALUATOR:
        return _own_signature()
    return _signature("evaluation", name) if name in evaluator_names() else None


def _own_signature() -> Signature | None:
    """Read our evaluator like the library's: importing it would import torch."""
    for node in body(package_file("mmst_cli", "evaluation/retrieval_evaluator.py")):
        if isinstance(node, ast.ClassDef) and node.name == OWN_EVALUATOR and (own := initializer(node)):
            return Signature({k: v for k, v in _parameters(own.args) if k not in _OWN_FILLED})
    return None


@cache
def loss_inputs(name: str) -> tuple[LossInput, ...] | None:
    """The columns and label that the loss ``name`` takes, from the table in its documentation.

    None if there is no table or a line of it is not understood: then nothing is checked.
    """
    if name in _UNDOCUMENTED_INPUTS:
        return _UNDOCUMENTED_INPUTS[name]
    found = find_class("losses", name) if name in loss_names() else None
    if found is None:
        return None
    documented = (found[1], initializer(found[1]))
    texts = [ast.get_docstring(node) or "" for node in documented if node is not None]
    table = re.search(r"Inputs:\n((?:\s*[+|].*\n?)+)", "\n".join(texts))
    rows = [line.strip().strip("|").split("|") for line in table[1].splitlines() if "|" in line] if table else []
    parsed = [_parse_input(*row) for row in rows[1:] if len(row) == 2]
    return tuple(line for line in parsed if line) if parsed and None not in parsed else None


@cache
def fitting_losses(columns: int, label: bool, *, or_more: bool = False, lists: bool | None = None) -> tuple[str, ...]:
    """The losses that take so many input columns, or perhaps more, with or without a label; the usual ones first.

    ``lists`` leaves only those whose labels are lists of numbers, or those whose labels are not.

    Losses that take anything are wrappers and regularisers, and those that need a Python object can't stand in
    a config: neither is named.
    """
    order = [*(name for name in _USUAL if name in loss_names()), *(n for n in loss_names() if n not in _USUAL)]
    return tuple(
        name
        for name in order
        if _can_stand_alone(name)
        and any(
            line.at_least and line.fits(columns, label, or_more=or_more) and lists in (None, line.lists)
            for line in loss_inputs(name) or ()
        )
    )


def _can_stand_alone(name: str) -> bool:
    signature = loss_signature(name)
    if signature is None or "loss" in signature.parameters:
        return False
    needed = [signature.parameters[argument] for argument in signature.required if argument != "model"]
    return not any(parameter.annotation and needs_python_object(parameter.annotation) for parameter in needed)


def takes_label(name: str, *, is_list: bool) -> bool:
    """Say whether the loss ``name`` may take labels that are lists of numbers, or numbers, by its documentation."""
    lines = loss_inputs(name)
    if lines is None:
        return True
    either = (line for line in lines if line.label is None and not (line.pairs and is_list))
    return any(either) or any(line.label and line.lists == is_list for line in lines)


@cache
def training_lines() -> dict[str, ast.AnnAssign]:
    """Field name to the line that declares it, of SentenceTransformerTrainingArguments and its bases."""
    fields: dict[str, ast.AnnAssign] = {}
    for package, file, class_name in _ARGUMENT_CLASSES:
        for node in body(package_file(package, file)):
            if isinstance(node, ast.ClassDef) and node.name == class_name:
                lines = [line for line in node.body if isinstance(line, ast.AnnAssign)]
                fields |= {n: line for line in lines if not (n := ast.unparse(line.target)).startswith("_")}
    return fields


@cache
def training_fields() -> dict[str, str]:
    """Field name to annotation (source text) of SentenceTransformerTrainingArguments and its bases."""
    return {name: ast.unparse(line.annotation) for name, line in training_lines().items()}


def _signature(folder: str, name: str, module: str | None = None) -> Signature | None:
    """Read the class's own `__init__`, or that of the first base in the same folder that has one."""
    found = find_class(folder, name, module)
    if found is None:
        return None
    where, node = found
    if (own := initializer(node)) is not None:
        return Signature(dict(_parameters(own.args)))
    bases = (_signature(folder, ast.unparse(base), where) for base in node.bases)
    return next((signature for signature in bases if signature), None)


def _parameters(arguments: ast.arguments) -> Iterator[tuple[str, Parameter]]:
    positional = (arguments.posonlyargs + arguments.args)[1:]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    for argument, default in [
        *zip(positional, defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]:
        annotation = ast.unparse(argument.annotation) if argument.annotation else None
        yield argument.arg, Parameter(annotation, ast.unparse(default) if default else None)


def _parse_input(inputs: str, labels: str) -> LossInput | None:
    inputs, label = inputs.strip(), {"none": False, "any": None}.get(labels.strip().lower(), True)
    pairs = labels.strip().startswith("1 if positive")
    lists = labels.strip().startswith("[") or any(word in labels for word in ("(batch_size,", "probabilities"))
    if inputs == "any":
        return LossInput(None, None, label, lists)
    if re.fullmatch(r"single \w+|input", inputs):
        return LossInput(1, 1, label, lists)
    names = re.fullmatch(r"\(([^)]*)\)(?: pairs| triplets)?|(input_1, .*)", inputs)
    if names is None:
        return None
    columns = [name.strip() for name in (names[1] or names[2]).split(",")]
    if "..." in columns:
        return LossInput(columns.index("..."), None, label, lists)
    return LossInput(len(columns), len(columns), label, lists, pairs)
