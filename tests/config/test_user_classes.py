"""A user's own losses and evaluators by dotted path: what is right passes, and what isn't gets one sentence by key."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from mmst_cli.config.load import load_config
from mmst_cli.config.rules import check_config
from mmst_cli.config.signatures import evaluator_signature, loss_signature
from mmst_cli.errors import ConfigError

CONFIG = """
model: {name_or_path: some/model}
datasets:
  train:
    use: train
    path: some/data
    columns: {query: {role: anchor}, page: {role: positive}}
  eval:
    use: eval
    path: some/data
    columns: {query: {role: anchor}, page: {role: positive}}
loss: [{type: MultipleNegativesRankingLoss}]
evaluators: {mine: {type: MatryoshkaRetrievalEvaluator, dataset: eval}}
training: {batch_sampler: no_duplicates}
"""
PARTS = """
    from collections.abc import Sequence

    from sentence_transformers.evaluation import InformationRetrievalEvaluator, SentenceEvaluator
    from sentence_transformers.losses import CachedMultipleNegativesRankingLoss
    from torch import nn

    class Plain(nn.Module):
        def __init__(self, encoder, margin: float = 0.2, names: Sequence[str] = ()):
            super().__init__()

    class Wrapper(nn.Module):
        def __init__(self, model, loss: nn.Module, *, weight: float):
            super().__init__()

    class Derived(CachedMultipleNegativesRankingLoss):
        def __init__(self, *args, margin: float = 0.1, **kwargs):
            super().__init__(*args, **kwargs)

    class Anything(nn.Module):
        def __init__(self, model, **kwargs):
            super().__init__()

    class Nothing(nn.Module):
        def __init__(self):
            super().__init__()

    class Pairs(SentenceEvaluator):
        def __init__(self, anchors, positives, negatives=None, at: int = 1):
            super().__init__()

    class Labelled(SentenceEvaluator):
        def __init__(self, sentences1, labels):
            super().__init__()

    class Retrieval(InformationRetrievalEvaluator):
        def __init__(self, *args, at: int = 1, **kwargs):
            super().__init__(*args, **kwargs)

    class NoEvaluator:
        pass

    number = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with a package of a user's own classes."""
    folder = tmp_path_factory.mktemp("work")
    package = folder / "own_of_test"
    package.mkdir()
    (package / "parts.py").write_text(dedent(PARTS))
    (package / "light.py").write_text(
        "from torch import nn\n\nclass Loss(nn.Module):\n    def __init__(self, model): ...\n"
    )
    (package / "broken.py").write_text("import json\n\nvalue = undefined_name\n")
    (package / "misspelt.py").write_text("def f(:\n")
    (package / "needy.py").write_text("import no_such_library\n")
    return folder


@pytest.fixture
def faults(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "job.yaml"
    path.write_text(CONFIG)

    def find(*overrides, **options):
        try:
            check_config(load_config(path, overrides), **options)
        except ConfigError as error:
            return error.faults
        return []

    return find


def loss(name, args="{}"):
    return f"loss.0={{type: own_of_test.{name}, args: {args}}}"


def evaluator(name, more=""):
    return f"evaluators.mine={{type: own_of_test.{name}, dataset: eval{more}}}"


WRAPPED = "loss=[{type: CoSENTLoss}, {type: own_of_test.parts.Wrapper, args: {weight: 1}}]"
LABELLED = "datasets.train.columns.s={role: label}"


@pytest.mark.parametrize(
    "overrides",
    [
        [loss("parts.Plain")],
        [loss("parts.Plain", "{margin: 1, names: [a]}")],
        [WRAPPED, LABELLED],
        [loss("parts.Derived", "{margin: 1, mini_batch_size: 4}")],
        [loss("parts.Anything", "{whatever: 1}")],
        ["loss.0.type=sentence_transformers.losses.MultipleNegativesRankingLoss"],
        [evaluator("parts.Pairs")],
        [evaluator("parts.Pairs", ", args: {at: 3}")],
        [evaluator("parts.Retrieval", ", dims: [8], args: {at: 3, batch_size: 2}")],
        [evaluator("parts.Retrieval"), "datasets.eval.layout=beir"],
    ],
)
def test_what_is_right_passes(faults, overrides):
    assert faults(*overrides) == []


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        # the three ways of getting the path wrong, of a loss and of an evaluator
        (loss("nowhere.Loss"), "loss.0.type: there is no module own_of_test.nowhere, neither in "),
        (
            "loss.0.type=nowhere_at_all.parts.Loss",
            "loss.0.type: there is no module nowhere_at_all, neither in ",
        ),
        (loss("parts.Plane"), "loss.0.type: the module own_of_test.parts has no Plane. Did you mean Plain?"),
        (
            loss("parts.NoEvaluator"),
            "loss.0.type: own_of_test.parts.NoEvaluator is a class of object, and a loss derives from torch.nn.Module.",
        ),
        (loss("parts.number"), "loss.0.type: own_of_test.parts.number is no class, and a loss derives from"),
        (evaluator("nowhere.E"), "evaluators.mine.type: there is no module own_of_test.nowhere, neither in "),
        (evaluator("parts.Pears"), "evaluators.mine.type: the module own_of_test.parts has no Pears. Did you mean"),
        (
            evaluator("parts.Plain"),
            "evaluators.mine.type: own_of_test.parts.Plain is a class of Module, and an evaluator derives from"
            " sentence_transformers.evaluation.SentenceEvaluator.",
        ),
        # modules that can't be imported
        (loss("broken.Loss"), "loss.0.type: own_of_test.broken can't be imported: "),
        (loss("misspelt.Loss"), "loss.0.type: own_of_test.misspelt can't be imported: "),
        (loss("needy.Loss"), "loss.0.type: own_of_test.needy can't be imported: "),
        ("loss.0.type=own_of_test..Loss", "loss.0.type: own_of_test..Loss is no path of a class."),
        # arguments, in the sentences of the library's own
        (
            loss("parts.Plain", "{margn: 1}"),
            "loss.0.args.margn: own_of_test.parts.Plain has no such argument. Did you mean margin?",
        ),
        (
            loss("parts.Plain", "{margin: big}"),
            'loss.0.args.margin: found the text "big", but own_of_test.parts.Plain takes a number.',
        ),
        (
            loss("parts.Plain", "{model: x}"),
            "loss.0.args.model: mmst gives own_of_test.parts.Plain its model. Leave it out.",
        ),
        (loss("parts.Derived", "{mini_batch_siz: 1}"), "loss.0.args.mini_batch_siz: own_of_test.parts.Derived has no"),
        (WRAPPED.replace("weight: 1", ""), "loss.1.args.weight: missing. own_of_test.parts.Wrapper needs it."),
        (loss("parts.Wrapper", "{weight: 1}"), "loss.0.type: own_of_test.parts.Wrapper wraps another loss"),
        (loss("parts.Nothing"), "loss.0.type: own_of_test.parts.Nothing takes nothing by place, and a loss is given"),
        (evaluator("parts.Pairs", ", args: {att: 1}"), "evaluators.mine.args.att: own_of_test.parts.Pairs has no such"),
        (
            evaluator("parts.Pairs", ", args: {anchors: []}"),
            "evaluators.mine.args.anchors: mmst gives own_of_test.parts.Pairs its anchors. Leave it out.",
        ),
        (evaluator("parts.Pairs", ", dims: [8]"), "evaluators.mine.dims: own_of_test.parts.Pairs can't measure"),
        (
            evaluator("parts.Labelled"),
            "evaluators.mine.dataset: own_of_test.parts.Labelled needs exactly one label column, and eval has none.",
        ),
    ],
)
def test_what_is_wrong_gets_one_sentence(faults, override, fault):
    overrides = [override, LABELLED] if override.startswith("loss=") else [override]
    (found,) = faults(*overrides)
    assert found.startswith(fault)
    assert "\n" not in found


def test_why_a_module_cannot_be_imported_is_told_with_its_place(faults, folder):
    (found,) = faults(loss("broken.Loss"))
    assert f"{folder}/own_of_test/broken.py, line 3: NameError: name 'undefined_name' is not defined." in found
    (found,) = faults(loss("misspelt.Loss"))
    assert f"{folder}/own_of_test/misspelt.py, line 1: invalid syntax." in found
    assert "No module named 'no_such_library'" in faults(loss("needy.Loss"))[0]


def test_judgements_are_given_to_what_takes_queries_and_a_corpus(faults):
    (found,) = faults(evaluator("parts.Pairs"), "datasets.eval.layout=beir")
    assert found.startswith("evaluators.mine.dataset: own_of_test.parts.Pairs reads rows, and eval has layout beir.")


def test_what_is_not_used_is_not_imported(faults):
    wrong = [loss("nowhere.Loss"), evaluator("nowhere.E")]
    assert [f.partition(":")[0] for f in faults(*wrong)] == ["loss.0.type", "evaluators.mine.type"]
    assert [f.partition(":")[0] for f in faults(*wrong, for_training=False)] == ["evaluators.mine.type"]
    assert faults(*wrong, for_training=False, for_mining=True) == []


def test_signatures_go_through_what_a_class_hands_on(faults):
    assert loss_signature("own_of_test.parts.Plain").required == ["model"]
    derived = loss_signature("own_of_test.parts.Derived")
    theirs = loss_signature("CachedMultipleNegativesRankingLoss")
    assert set(derived.parameters) == {"margin", *theirs.parameters}
    assert derived.required == ["model"]
    retrieval = evaluator_signature("own_of_test.parts.Retrieval")
    assert retrieval.required == ["queries", "corpus", "relevant_docs"]


def test_only_a_dotted_type_imports_torch(folder, tmp_path):
    (tmp_path / "job.yaml").write_text(CONFIG)
    code = (
        "import sys\nfrom mmst_cli.config.rules import load_checked_config\n"
        "load_checked_config(sys.argv[1], sys.argv[2:])\nprint('torch' in sys.modules)"
    )
    for overrides, imported in ([], "False"), ([loss("light.Loss")], "True"):
        command = [sys.executable, "-c", code, str(tmp_path / "job.yaml"), *overrides]
        assert subprocess.check_output(command, text=True, cwd=folder).strip() == imported
