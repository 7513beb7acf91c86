"""Signatures read from source, beside what Python says of the imported classes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmst_cli.config import library_source, signatures
from mmst_cli.config.arguments import needs_python_object, wanted_type
from mmst_cli.config.library_source import enum_values
from mmst_cli.config.signatures import (
    LossInput,
    evaluator_names,
    evaluator_signature,
    loss_inputs,
    loss_names,
    loss_signature,
    training_fields,
)


def test_names_are_losses_and_evaluators_only():
    assert {"MatryoshkaLoss", "CachedMultipleNegativesRankingLoss", "AnglELoss"} <= set(loss_names())
    assert "ContrastiveTensionLossInBatchNegatives" in loss_names()
    assert not {"SiameseDistanceMetric", "BatchHardTripletLossDistanceFunction"} & set(loss_names())
    assert {"MatryoshkaRetrievalEvaluator", "TripletEvaluator"} <= set(evaluator_names())
    assert not {"BaseEvaluator", "SequentialEvaluator", "SimilarityFunction"} & set(evaluator_names())


def test_required_arguments():
    assert loss_signature("MatryoshkaLoss").required == ["model", "loss", "matryoshka_dims"]
    assert loss_signature("MultipleNegativesRankingLoss").required == ["model"]
    assert evaluator_signature("TripletEvaluator").required == ["anchors", "positives", "negatives"]


def test_names_that_are_not_there():
    assert loss_signature("SiameseDistanceMetric") is None
    assert loss_signature("NoLoss") is None
    assert evaluator_signature("NoEvaluator") is None


def test_our_evaluator_is_read_from_its_own_source():
    ours = evaluator_signature("MatryoshkaRetrievalEvaluator").parameters
    theirs = evaluator_signature("InformationRetrievalEvaluator").parameters
    assert {"batch_size", "query_prompt", "ndcg_at_k", "map_at_k"} <= set(ours) < set(theirs)


def test_an_inherited_initializer_is_followed(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text(
        "from .base import BaseLoss\nfrom .child import ChildLoss\n__all__ = ['ChildLoss', 'BaseLoss']\n"
    )
    (tmp_path / "base.py").write_text(
        "class _Root:\n    def __init__(self, model, margin: float = 1.0, *, dim): ...\n"
        "class BaseLoss(_Root):\n    pass\n"
    )
    (tmp_path / "child.py").write_text("from .base import BaseLoss\nclass ChildLoss(BaseLoss):\n    pass\n")
    monkeypatch.setattr(library_source, "folder_file", lambda folder, module="__init__": tmp_path / f"{module}.py")
    library_source.modules.cache_clear()
    try:
        signature = signatures._signature("losses", "ChildLoss")
    finally:
        library_source.modules.cache_clear()
    assert list(signature.parameters) == ["model", "margin", "dim"]
    assert signature.required == ["model", "dim"]


def test_without_the_packages_there_is_nothing_to_check(monkeypatch):
    monkeypatch.setattr(library_source.importlib.util, "find_spec", lambda name: None)
    caches = [
        *(loss_names, evaluator_names, loss_signature, evaluator_signature, loss_inputs, training_fields),
        signatures.training_lines,
        *(library_source.exported_names, library_source.modules, library_source.enum_members),
    ]
    for function in caches:
        function.cache_clear()
    try:
        assert (loss_names(), evaluator_names(), training_fields()) == ((), (), {})
        assert loss_signature("MatryoshkaLoss") is None
        assert loss_inputs("MatryoshkaLoss") is None
    finally:
        monkeypatch.undo()
        for function in caches:
            function.cache_clear()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "MultipleNegativesRankingLoss",
            (LossInput(2, 2, False), LossInput(3, 3, False), LossInput(3, None, False)),
        ),
        ("CachedMultipleNegativesSymmetricRankingLoss", (LossInput(2, 2, False),)),
        ("AnglELoss", (LossInput(2, 2, True), LossInput(3, 3, False), LossInput(3, None, False))),
        ("BatchAllTripletLoss", (LossInput(1, 1, True),)),
        ("ContrastiveLoss", (LossInput(2, 2, True, pairs=True),)),
        ("CoSENTLoss", (LossInput(2, 2, True),)),
        ("MatryoshkaLoss", (LossInput(None, None, None),)),
        ("GlobalOrthogonalRegularizationLoss", (LossInput(None, None, False),)),
        ("DistillKLDivLoss", (LossInput(3, 3, True, True), LossInput(3, None, True, True))),
        (
            "SoftmaxLoss",
            (LossInput(2, 2, True), LossInput(2, 2, True, True)),
        ),
        ("MSELoss", (LossInput(1, 1, True, True), LossInput(2, None, True, True), LossInput(2, None, True, True))),
        ("TripletLoss", (LossInput(3, 3, False),)),
        ("ContrastiveTensionLossInBatchNegatives", (LossInput(1, 1, False),)),
        ("ContrastiveTensionLoss", (LossInput(2, 2, None, pairs=True),)),
        ("DenoisingAutoEncoderLoss", (LossInput(2, 2, False),)),
        ("NoLoss", None),
    ],
)
def test_inputs_from_the_documentation(name, expected):
    assert loss_inputs(name) == expected


def test_the_inputs_of_all_losses_are_understood():
    assert [name for name in loss_names() if loss_inputs(name) is None] == []


def test_training_fields_of_all_three_classes():
    fields = training_fields()
    assert fields["learning_rate"] == "float"
    assert "batch_sampler" in fields
    assert "prompts" in fields
    assert "_VALID_DICT_FIELDS" not in fields


def test_enum_values():
    assert enum_values("IntervalStrategy") == ("no", "steps", "epoch")
    assert "no_duplicates_hashed" in enum_values("BatchSamplers")
    assert enum_values("dict[str, int]") == enum_values("NoEnum") == ()


@pytest.mark.parametrize(
    ("value", "annotation", "wanted"),
    [
        (1, "float", None),
        (True, "float", "a number"),
        (True, "int", "a whole number"),
        (1.0, "int", "a whole number"),
        (1, "bool", "true or false"),
        ("x", "int | None", "a whole number"),
        (None, "int | None", None),
        (None, "int", "a whole number"),
        ("x", "Optional[int]", "a whole number"),
        ("steps", "IntervalStrategy | str", None),
        ("step", "IntervalStrategy | str", "one of no, steps, epoch"),
        ("x", "Literal['a', 'b'] | None", "one of a, b"),
        ("a", "Literal['a', 'b'] | Callable[[int], float]", None),
        ([1, 2], "Sequence[int]", None),
        ([1, "2"], "list[int]", "a list of which each is a whole number"),
        (3, "list[int]", "a list"),
        ({"a": "f"}, "dict[str, Callable] | None", "a mapping of which each is a Python object (Callable)"),
        ({"a": {}}, "Union[str, None, dict[str, str], dict[str, dict[str, str]]]", None),
        (["a"], "tuple[Literal['a'], ...]", None),
        (object, "SomethingElse", None),
        ("x", "Any", None),
    ],
)
def test_values_against_annotations(value, annotation, wanted):
    assert wanted_type(value, annotation) == wanted


def test_python_objects():
    assert needs_python_object("Callable[[Tensor, Tensor], Tensor]")
    assert needs_python_object("nn.Module | None")
    assert not needs_python_object("Literal['a'] | Callable")
    assert not needs_python_object("str")


def test_reading_signatures_imports_none_of_the_libraries():
    code = (
        "import sys; from mmst_cli.config.signatures import *\n"
        "[loss_signature(n) for n in loss_names()], [evaluator_signature(n) for n in evaluator_names()]\n"
        "training_fields(), loss_inputs('TripletLoss')\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.slow
def test_source_and_import_agree():
    """Names, order and which are required, of every loss, every evaluator and the trainer's arguments."""
    import dataclasses
    import inspect

    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer import evaluation, losses

    for module, names, read in [
        (losses, loss_names(), loss_signature),
        (evaluation, [n for n in evaluator_names() if n != signatures.OWN_EVALUATOR], evaluator_signature),
    ]:
        for name in names:
            # Of `__init__`: a class marked as deprecated shows (*args, **kwargs) for itself.
            _, *parameters = inspect.signature(getattr(module, name).__init__).parameters.values()
            expected = [(p.name, p.default is inspect.Parameter.empty) for p in parameters]
            assert [(n, p.required) for n, p in read(name).parameters.items()] == expected, name
    assert set(training_fields()) == {f.name for f in dataclasses.fields(SentenceTransformerTrainingArguments)}
