"""Rules for several training sets, their losses, weights, prompts, and the shapes of their columns."""

from __future__ import annotations

import pytest

from mmst_cli.config.load import load_config
from mmst_cli.config.rules import check_config
from mmst_cli.config.rules_loss import loss_keys, loss_layers
from mmst_cli.errors import ConfigError

TWO = """
model: {name_or_path: some/model}
datasets:
  pairs:
    use: train
    path: some/pairs
    columns: {query: {role: anchor}, page: {role: positive, modality: image}}
  scored:
    use: train
    path: some/scores
    columns: {a: {role: anchor}, b: {role: positive}, same: {role: label}}
    loss: [{type: CoSENTLoss}]
  eval:
    use: eval
    path: some/pairs
    columns: {query: {role: anchor}, page: {role: positive, modality: image}}
loss: [{type: MultipleNegativesRankingLoss}]
evaluators:
  one: {type: MatryoshkaRetrievalEvaluator, dataset: eval}
training: {batch_sampler: no_duplicates}
"""
NO_FILE_LOSS = ["loss=[]", "datasets.pairs.loss=[{type: MultipleNegativesRankingLoss}]"]
STREAM = ["datasets.pairs.streaming=true", "training={max_steps: 9}"]
ALONE = "datasets.scored.use=eval"
NEGATIVES = "datasets.pairs.columns.others={role: negative, modality: image}"
SECOND = "evaluators.two={type: MatryoshkaRetrievalEvaluator, dataset: eval}"
BEST = ["training.load_best_model_at_end=true", "training.eval_strategy=steps"]
BEIR = "datasets.eval.layout=beir"
PROMPTED = ["prompts={anchor: 'find: ', positive: 'page: '}", "datasets.scored.prompts={anchor: ''}"]


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(TWO)
    return lambda *overrides: load_config(path, overrides)


def column(declared):
    return f"datasets.pairs.columns.page={{role: positive, {declared}}}"


def said(content, role="user"):
    return column(f"message: [{{role: {role}, content: {content}}}]")


def triplet(negative):
    return ["datasets.pairs.loss=[{type: TripletLoss}]", f"datasets.pairs.columns.others={{role: negative{negative}}}"]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        NO_FILE_LOSS,
        [*NO_FILE_LOSS, "evaluators={}"],  # the loss on eval is that of pairs, the first training set
        ["datasets.scored.weight=0.5", "training.multi_dataset_batch_sampler=proportional"],
        [*STREAM, "datasets.scored.use=eval"],
        PROMPTED,
        [*PROMPTED, "prompts.negative='page: '", NEGATIVES],
        [SECOND, *BEST, "training.metric_for_best_model=eval_mean"],
        [SECOND, *BEST, "training.metric_for_best_model=mean"],
        [NEGATIVES],
        triplet(""),
        triplet(", take: 1"),
        [column("parts: {text: ocr, image: scan}")],
        [column("modality: mixed, parts: {text: ocr}")],
        ["datasets.pairs.on_bad_row=skip"],
        ["datasets.eval.on_bad_row=skip", "datasets.eval.max_bad_rows=0"],
        [column("modality: image, pages: all")],
        [column("modality: image, pages: [1, 3]")],
        [said("'Is this {page}? {{yes}}'")],
        [said("[{text: 'A {page}'}, {image: scan}, {type: audio, audio: sound}]", "system")],
    ],
)
def test_what_is_right_passes(load, overrides):
    check_config(load(*overrides))


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        # losses
        (["loss=[]"], "loss", ["none is declared for pairs"]),
        (["datasets.scored.loss.0.type=CoSENTLos"], "datasets.scored.loss.0.type", ["Did you mean CoSENTLoss?"]),
        (["datasets.scored.loss.0.args={scal: 2}"], "datasets.scored.loss.0.args.scal", ["Did you mean scale?"]),
        (
            ["datasets.scored.loss=[{type: MatryoshkaLoss, args: {matryoshka_dims: [8]}}]"],
            "datasets.scored.loss.0.type",
            ["wraps another loss"],
        ),
        (
            ["datasets.eval.loss=[{type: CoSENTLoss}]"],
            "datasets.eval.loss",
            ["an evaluator reads eval", "Leave it out"],
        ),
        (
            ["datasets.scored.loss=[]"],
            "datasets.scored.columns",
            [
                "2 input columns (anchor, positive) and a label",
                "With these columns: CoSENTLoss, CosineSimilarityLoss, AnglELoss, ContrastiveLoss",
            ],
        ),
        (
            ["loss=[{type: CoSENTLoss}]"],
            "datasets.pairs.columns",
            ["and no label", "With these columns: MultipleNegativesRankingLoss, CachedMultipleNegativesRankingLoss"],
        ),
        ([NEGATIVES, *triplet(", take: 2")], "datasets.pairs.columns", ["4 input columns", "TripletLoss takes 3"]),
        (
            ["datasets.scored.columns.n={role: negative}"],
            "datasets.scored.columns",
            ["3 input columns (anchor, positive, negative) and a label", "With these columns: ", "MarginMSELoss"],
        ),
        # names and weights
        (["datasets.a/b={use: train, path: x, columns: {}}"], "datasets.a/b", ["can't have a / or . in it"]),
        (["datasets.scored.weight=0"], "datasets.scored.weight", ["found 0", "above 0"]),
        (["datasets.eval.weight=2"], "datasets.eval.weight", ["only training sets are weighted"]),
        # streams
        (["datasets.eval.streaming=true"], "datasets.eval.streaming", ["only a training set"]),
        (STREAM, "datasets.pairs.streaming", ["alone", "scored is there"]),
        ([*STREAM, "datasets.pairs.prepare=true"], "datasets.pairs.prepare", ["read before"]),
        (["datasets.pairs.streaming=true", ALONE], "training.max_steps", ["missing", "no length"]),
        (["datasets.pairs.streaming=true", ALONE], "training.batch_sampler", ["no_duplicates", "Leave it out"]),
        ([*STREAM, ALONE, "datasets.pairs.max_rows=5"], "datasets.pairs.max_rows", ["a stream gives one after"]),
        ([*STREAM, ALONE, "datasets.pairs.weight=2"], "datasets.pairs.weight", ["a stream gives one after"]),
        # broken rows
        (["datasets.pairs.on_bad_row=skp"], "datasets.pairs.on_bad_row", ["error, skip"]),
        (["datasets.pairs.max_bad_rows=5"], "datasets.pairs.max_bad_rows", ["Set on_bad_row: skip"]),
        (
            ["datasets.pairs.on_bad_row=skip", "datasets.pairs.max_bad_rows=-1"],
            "datasets.pairs.max_bad_rows",
            ["found -1", "0 or more"],
        ),
        ([BEIR, "datasets.eval.on_bad_row=skip"], "datasets.eval.on_bad_row", ["judgements", "leave on_bad_row out"]),
        # prompts
        (["prompts.positve=x"], "prompts.positve", ["anchor, positive, negative", "Did you mean positive?"]),
        (["prompts.label=x"], "prompts.label", ["prompts go by role"]),
        (["prompts={positive: x, negative: y}", NEGATIVES], "prompts.negative", ["take one prompt", "Leave it out"]),
        (["prompts={positive: x, negative: x}"], "prompts.negative", ["no dataset has a column of the role negative"]),
        (
            ["datasets.scored.prompts={negative: x}"],
            "datasets.scored.prompts.negative",
            ["scored doesn't have a column of the role negative"],
        ),
        (["datasets.eval.prompts={anchor: x}"], "datasets.eval.prompts", ["for training"]),
        ([*PROMPTED, "training.prompts={query: x}"], "training.prompts", ["says this by role"]),
        # the mean over evaluators
        ([*BEST, "training.metric_for_best_model=eval_mean"], "training.metric_for_best_model", ["no evaluator"]),
        ([*BEST, SECOND], "training.metric_for_best_model", ["missing", "Set it to eval_mean"]),
        (
            ["evaluators.mean={type: MatryoshkaRetrievalEvaluator, dataset: eval}"],
            "evaluators.mean",
            ["Give it another name"],
        ),
        # columns made of several cells
        ([column("parts: {txt: ocr}")], "datasets.pairs.columns.page.parts.txt", ["Did you mean text?"]),
        ([column("parts: {message: ocr}")], "datasets.pairs.columns.page.parts.message", ["text, image, audio, video"]),
        (
            [column("modality: image, parts: {text: ocr}")],
            "datasets.pairs.columns.page.modality",
            ["found image", "makes it mixed"],
        ),
        (
            [column("parts: {text: ocr}, message: [{role: user, content: x}]")],
            "datasets.pairs.columns.page.message",
            ["parts already says"],
        ),
        ([column("parts: {text: ocr}, pages: all")], "datasets.pairs.columns.page.pages", ["parts already says"]),
        ([column("pages: all")], "datasets.pairs.columns.page.pages", ["Set modality: image"]),
        ([column("modality: image, pages: al")], "datasets.pairs.columns.page.pages", ['"al"', "Did you mean all?"]),
        ([column("modality: image, pages: [0]")], "datasets.pairs.columns.page.pages", ["page numbers from 1"]),
        ([column("take: 0")], "datasets.pairs.columns.page.take", ["found 0", "1 or more"]),
        (["datasets.scored.columns.same.pages=all"], "datasets.scored.columns.same.pages", ["a label is one value"]),
        ([said("x", "usr")], "datasets.pairs.columns.page.message.0.role", ["system, user, assistant", "mean user?"]),
        ([said("3")], "datasets.pairs.columns.page.message.0.content", ["number 3", "a list of {text: ...}"]),
        ([said("'a {page'")], "datasets.pairs.columns.page.message.0.content", ["expected '}'", "stands for a column"]),
        ([said("'a {}'")], "datasets.pairs.columns.page.message.0.content", ["nothing between the braces"]),
        ([said("'a {page:>9}'")], "datasets.pairs.columns.page.message.0.content", ["any further"]),
        ([said("[{imge: scan}]")], "datasets.pairs.columns.page.message.0.content.0", ["imge", "mean image?"]),
        ([said("[{image: 3}]")], "datasets.pairs.columns.page.message.0.content.0.image", ["it is a column"]),
        (
            [said("[{type: text, image: scan}]")],
            "datasets.pairs.columns.page.message.0.content.0.type",
            ["beside image", "Leave type out"],
        ),
        (
            [BEIR, "datasets.eval.columns.page={role: positive, message: [{role: user, content: hello}]}"],
            "datasets.eval.columns.page.message",
            ["one cell of queries or corpus, or parts"],
        ),
        ([BEIR, "datasets.eval.sql=select 1"], "datasets.eval.sql", ["three tables"]),
        # samplers
        (["training.batch_sampler=group_by_label"], "training.batch_sampler", ["pairs has no label"]),
    ],
)
def test_a_broken_rule_is_named_by_its_key(load, overrides, key, words):
    with pytest.raises(ConfigError) as caught:
        check_config(load(*overrides))
    mine = [fault for fault in caught.value.faults if fault.startswith(f"{key}: ")]
    assert mine, caught.value.faults
    for word in words:
        assert any(word in fault for fault in mine), mine


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["datasets.pairs.weight=2", "training.multi_dataset_batch_sampler=round_robin"],
            ["datasets.pairs.weight: round_robin", "proportional"],
        ),
        (["datasets.pairs.weight=2", ALONE, "datasets.scored.columns={}"], None),
        (["training.batch_sampler=batch_sampler"], ["MultipleNegativesRankingLoss takes the other rows"]),
    ],
)
def test_warnings(load, overrides, words):
    if words is None:
        del (config := load(*overrides)).datasets["scored"]
        assert any("one training set it only makes an epoch longer" in line for line in check_config(config))
        return
    (warning,) = check_config(load(*overrides))
    for word in words:
        assert word in warning


def test_a_stream_is_not_told_to_leave_duplicates_out(load):
    config = load(*STREAM)
    del config.datasets["scored"]
    assert check_config(config) == []


def test_whose_loss_a_dataset_has(load):
    config = load("evaluators={}", "datasets.own={use: eval, path: x, columns: {}, loss: [{type: CoSENTLoss}]}")
    keys = {"pairs": "loss", "scored": "datasets.scored.loss", "eval": "loss", "own": "datasets.own.loss"}
    assert loss_keys(config) == keys
    assert [loss_layers(config, key)[0].type for key in keys.values()] == [
        *("MultipleNegativesRankingLoss", "CoSENTLoss", "MultipleNegativesRankingLoss", "CoSENTLoss")
    ]
    without = load("evaluators={}", *NO_FILE_LOSS)
    assert loss_keys(without)["eval"] == "datasets.pairs.loss"
