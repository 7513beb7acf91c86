"""Rules across fields: a table of broken configs, each with the key and the words of its sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmst_cli.config.load import load_config
from mmst_cli.config.rules import check_config
from mmst_cli.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = """
matryoshka_dims: [64, 32]
model: {name_or_path: some/model}
datasets:
  train:
    use: train
    path: some/data
    columns:
      query: {role: anchor}
      image: {role: positive, modality: image}
  eval:
    use: eval
    path: some/data
    columns:
      query: {role: anchor}
      image: {role: positive, modality: image}
      other: {role: negative, modality: image}
loss:
  - type: MultipleNegativesRankingLoss
  - type: MatryoshkaLoss
    args: {matryoshka_dims: [64, 32]}
evaluators:
  hard: {type: MatryoshkaRetrievalEvaluator, dataset: eval, dims: [64, 32]}
training: {batch_sampler: no_duplicates}
"""
BEST = ["training.load_best_model_at_end=true", "training.eval_strategy=steps"]
NAMED = [*BEST, "training.metric_for_best_model=eval_hard_cosine_ndcg@10"]
SCORED = "datasets.eval.columns={a: {role: anchor}, b: {role: positive}, s: {role: label}}"
LABELLED = "datasets.train.columns={a: {role: anchor}, b: {role: positive}, s: {role: label}}"
SHORTER = "{type: MatryoshkaLoss, args: {matryoshka_dims: [8]}}"
HARD = "datasets.train.columns.c={role: negative}"
ALONE = "datasets.train.columns={a: {role: anchor}, s: {role: label}}"
BEIR = [
    "datasets.eval.layout=beir",
    "datasets.eval.columns={queries/text: {role: anchor}, corpus/text: {role: positive}}",
]


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(SMALL)
    return lambda *overrides: load_config(path, overrides)


def faults_of(config, **options):
    with pytest.raises(ConfigError) as caught:
        check_config(config, **options)
    return caught.value.faults


def evaluator(type_name: str, *more: str) -> list[str]:
    return [f"evaluators.hard={{type: {type_name}, dataset: eval}}", *more]


@pytest.mark.parametrize("name", ["vdr.yaml", "vdr-fp32.yaml"])
@pytest.mark.parametrize("for_training", [True, False])
def test_shipped_configs_break_no_rule(name, for_training):
    assert check_config(load_config(CONFIGS / name), for_training=for_training) == []


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["loss=[{type: CosineSimilarityLoss}]", LABELLED],
        ["loss=[{type: BatchAllTripletLoss}]", ALONE],
        ["loss=[{type: DenoisingAutoEncoderLoss}]"],
        ["loss=[{type: ContrastiveTensionLoss}]", LABELLED],
        ["loss.0={type: CachedMultipleNegativesRankingLoss, args: {mask_false_negatives: 0.1, scale: 30}}"],
        ["loss=[{type: GISTEmbedLoss, args: {guide: {name_or_path: some/model, dtype: bfloat16}}}]"],
        ["loss=[{type: MegaBatchMarginLoss, args: {use_mini_batched_version: false}}, {type: AdaptiveLayerLoss}]"],
        [f"loss=[{{type: TripletLoss}}, {SHORTER}, {{type: AdaptiveLayerLoss}}]", "evaluators={}", HARD],
        [
            "loss=[{type: TripletLoss, args: {triplet_margin: 3}}]",
            "datasets.train.columns.n={role: negative}",
        ],
        ["loss.0.args={scale: 10, partition_mode: per_direction, directions: [query_to_doc]}"],
        ["loss.1.args.matryoshka_weights=[1, 0.5]"],
        ["datasets.train.columns.n1={role: negative}", "datasets.train.columns.n2={role: negative}"],
        ["training.max_grad_norm=1", "training.report_to=none", "training.prompts={query: 'q: '}"],
        ["training.eval_strategy='no'", "training.warmup_steps=10", "training.tf32=null"],
        ["training.eval_strategy=epoch", "evaluators={}"],  # the loss on datasets.eval
        ["training.eval_strategy=epoch", "evaluators={}", "training.metric_for_best_model=loss"],
        [*NAMED, "training.save_steps=1000"],
        [*NAMED, "training.logging_steps=50", "training.save_steps=150"],
        [*NAMED, "training.eval_steps=0.1", "training.save_steps=0.1"],
        [*NAMED, "training.save_strategy=best", "training.save_steps=3"],
        [*NAMED, "training.eval_strategy=epoch", "training.save_strategy=epoch", "training.save_steps=3"],
        [*BEST, "training.metric_for_best_model=hard_dim_32_dot_recall@5"],
        [*BEST, "training.metric_for_best_model=hard_cosine_mrr@3", "evaluators.hard.args={mrr_at_k: [3]}"],
        evaluator("InformationRetrievalEvaluator", "evaluators.hard.args={truncate_dim: 32, batch_size: 4}"),
        evaluator("TripletEvaluator", *BEST, "training.metric_for_best_model=eval_hard_cosine_accuracy"),
        evaluator("RerankingEvaluator"),
        evaluator("EmbeddingSimilarityEvaluator", SCORED, "evaluators.hard.args={main_similarity: cosine}"),
        evaluator("BinaryClassificationEvaluator", SCORED),
        BEIR,
        [*BEIR, "datasets.eval.columns.image={role: positive, modality: image}", "datasets.eval.max_rows=5"],
        evaluator("InformationRetrievalEvaluator", *BEIR),
        ["evaluators.hard.precisions=[float32, float16, int8, binary, binary-rescored]"],
        ["evaluators.hard.deduplicate=false"],
    ],
)
def test_what_is_right_passes(load, overrides):
    check_config(load(*overrides))


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        # losses
        (
            ["loss.0.type=MultipleNegativeRankingLoss"],
            "loss.0.type",
            ["Did you mean MultipleNegativesRankingLoss?"],
        ),
        (["loss.0.type=Qqq"], "loss.0.type", ["no loss Qqq", "There are AdaptiveLayerLoss"]),
        (["loss.0.args={scal: 2}"], "loss.0.args.scal", ["no such argument", "Did you mean scale?"]),
        (["loss.0.args={zzz: 2}"], "loss.0.args.zzz", ["It takes scale"]),
        (["loss.0.args={model: x}"], "loss.0.args.model", ["Leave it out"]),
        (["loss.1.args.loss=x"], "loss.1.args.loss", ["Leave it out"]),
        (["loss.0.args={scale: big}"], "loss.0.args.scale", ['"big"', "takes a number"]),
        (["loss.0.args={partition_mode: x}"], "loss.0.args.partition_mode", ["one of joint, per_direction"]),
        (
            ["loss.0.args={similarity_fct: cos_sim}"],
            "loss.0.args.similarity_fct",
            ["Python object", "default"],
        ),
        (
            ["loss=[{type: CoSENTLoss, args: {similarity_fct: dot}}]"],
            "loss.0.args.similarity_fct",
            ["Python object"],
        ),
        (
            ["loss=[{type: GISTEmbedLoss}]"],
            "loss.0.args.guide",
            ["missing", "Write guide: {name_or_path: ...}"],
        ),
        (
            ["loss=[{type: GISTEmbedLoss, args: {guide: some/model}}]"],
            "loss.0.args.guide",
            ["a model is a mapping", "{name_or_path: some/model}"],
        ),
        (
            ["loss=[{type: CachedGISTEmbedLoss, args: {guide: {name: some/model}}}]"],
            "loss.0.args.guide.name",
            ["unknown key", "name_or_path"],
        ),
        (
            ["loss=[{type: GISTEmbedLoss, args: {guide: {name_or_path: some/model, dtype: float31}}}]"],
            "loss.0.args.guide.dtype",
            ["Did you mean float32?"],
        ),
        (
            ["loss=[{type: GISTEmbedLoss, args: {guide: {name_or_path: some/model, frozen: [a]}}}]"],
            "loss.0.args.guide.frozen",
            ["nothing of this model is trained"],
        ),
        (
            ["loss=[{type: GISTEmbedLoss, args: {guide: {name_or_path: a, adapter: {}}}}]"],
            "loss.0.args.guide.adapter",
            ["nothing of this model is trained"],
        ),
        (["loss=[{type: GISTEmbedLoss, args: {guide: {}}}]"], "loss.0.args.guide.name_or_path", ["missing"]),
        (["loss=[{type: SoftmaxLoss}]"], "loss.0.args.num_labels", ["missing", "SoftmaxLoss needs it"]),
        (["loss.1.args={}"], "loss.1.args.matryoshka_dims", ["missing", "MatryoshkaLoss needs it"]),
        (
            ["loss=[{type: MatryoshkaLoss, args: {matryoshka_dims: [8]}}]"],
            "loss.0.type",
            ["wraps another loss"],
        ),
        (["loss.1={type: CoSENTLoss}"], "loss.1.type", ["can't wrap"]),
        (
            ["loss.0={type: CachedMultipleNegativesRankingLoss, args: {mini_batch_size: 0}}"],
            "loss.0.args.mini_batch_size",
            ["found 0; it is 1 or more."],
        ),
        (
            ["loss.0.args={mask_false_negatives: 0.1}"],
            "loss.0.args.mask_false_negatives",
            ["only CachedMultipleNegativesRankingLoss has it"],
        ),
        (
            ["loss.0={type: CachedMultipleNegativesRankingLoss, args: {mask_false_negatives: yes}}"],
            "loss.0.args.mask_false_negatives",
            ["takes a number", "such as 0.1"],
        ),
        (
            [
                "loss.0={type: CachedMultipleNegativesRankingLoss, args: {mask_false_negatives: 0.1,"
                " hardness_mode: all_negatives}}"
            ],
            "loss.0.args.hardness_mode",
            ["found beside mask_false_negatives"],
        ),
        (
            ["loss.0={type: CachedMultipleNegativesRankingLoss}", "loss.1={type: Matryoshka2dLoss}"],
            "loss.1.type",
            ["runs the model again", "Leave out Matryoshka2dLoss, or take another loss"],
        ),
        (
            ["loss=[{type: MSELoss, args: {projection_dim: 8}}, {type: MatryoshkaLoss, args: {matryoshka_dims: [8]}}]"],
            "loss.1.type",
            ["MSELoss with projection_dim", "MatryoshkaLoss shortens them"],
        ),
        (
            [f"loss=[{{type: TripletLoss}}, {SHORTER}, {SHORTER}]"],
            "loss.2.type",
            ["stands in MatryoshkaLoss", "Matryoshka2dLoss alone does both"],
        ),
        (
            [f"loss=[{{type: TripletLoss}}, {{type: AdaptiveLayerLoss}}, {SHORTER}]"],
            "loss.2.type",
            ["AdaptiveLayerLoss stands in MatryoshkaLoss"],
        ),
        # dimensions
        (["matryoshka_dims=[64, 64, 0, -1]"], "matryoshka_dims", ["0, -1", "above 0"]),
        (["matryoshka_dims=[64, 64]"], "matryoshka_dims", ["64 stands there more than once"]),
        (["loss.1.args.matryoshka_dims=[64, 64]"], "loss.1.args.matryoshka_dims", ["64", "more than once"]),
        (["loss.1.args.matryoshka_dims=[64, 1.5]"], "loss.1.args.matryoshka_dims", ["1.5"]),
        (["loss.1.args.matryoshka_dims=[]"], "loss.1.args.matryoshka_dims", ["empty"]),
        (["loss.1.args.matryoshka_dims=64"], "loss.1.args.matryoshka_dims", ["takes a list"]),
        (["loss.1.args.matryoshka_weights=[1]"], "loss.1.args.matryoshka_weights", ["1 weights for 2"]),
        (["evaluators.hard.dims=[32, 32]"], "evaluators.hard.dims", ["more than once"]),
        (["evaluators.hard.dims=[0]"], "evaluators.hard.dims", ["above 0"]),
        # evaluators
        (
            ["evaluators.hard.type=TripletEvaluater"],
            "evaluators.hard.type",
            ["Did you mean TripletEvaluator?"],
        ),
        (["evaluators.hard.type=Qqq"], "evaluators.hard.type", ["There are MatryoshkaRetrievalEvaluator"]),
        (
            ["evaluators.hard.type=NanoBEIREvaluator"],
            "evaluators.hard.type",
            ["can't be built", "TripletEvaluator"],
        ),
        (
            ["evaluators.hard.dataset=evla"],
            "evaluators.hard.dataset",
            ["no dataset evla", "Did you mean eval?"],
        ),
        (
            ["evaluators.hard.type=RerankingEvaluator", "evaluators.hard.args={truncate_dim: 8}"],
            "evaluators.hard.args.truncate_dim",
            ["evaluators.hard.dims"],
        ),
        (["evaluators.hard.args={batchsize: 1}"], "evaluators.hard.args.batchsize", ["mean batch_size?"]),
        (["evaluators.hard.args={batch_size: 1.5}"], "evaluators.hard.args.batch_size", ["a whole number"]),
        (["evaluators.hard.args={queries: {}}"], "evaluators.hard.args.queries", ["Leave it out"]),
        (["evaluators.hard.args={name: x}"], "evaluators.hard.args.name", ["Leave it out"]),
        (
            ["evaluators.hard.args={truncate_dim: 8}"],
            "evaluators.hard.args.truncate_dim",
            ["evaluators.hard.dims"],
        ),
        (["evaluators={a/b: {type: RerankingEvaluator, dataset: eval}}"], "evaluators.a/b", ["file name"]),
        (
            ["datasets.eval.columns={a: {role: positive}}"],
            "evaluators.hard.dataset",
            ["exactly one anchor", "none"],
        ),
        (["datasets.eval.columns={a: {role: anchor}}"], "evaluators.hard.dataset", ["at least one positive"]),
        (
            ["datasets.eval.columns.b={role: anchor}"],
            "evaluators.hard.dataset",
            ["exactly one anchor", "has 2"],
        ),
        (
            evaluator("TripletEvaluator", "evaluators.hard.dataset=train"),
            "evaluators.hard.dataset",
            ["at least one negative"],
        ),
        (evaluator("EmbeddingSimilarityEvaluator"), "evaluators.hard.dataset", ["exactly one label"]),
        (evaluator("BinaryClassificationEvaluator"), "evaluators.hard.dataset", ["exactly one label"]),
        (
            evaluator("RerankingEvaluator", "evaluators.hard.dataset=train"),
            "evaluators.hard.dataset",
            ["at least one negative"],
        ),
        # precisions
        (
            ["evaluators.hard.precisions=[float32, int4, binray]"],
            "evaluators.hard.precisions",
            ["no precision int4; there is float32, float16"],
        ),
        (["evaluators.hard.precisions=[binray]"], "evaluators.hard.precisions", ["Did you mean binary?"]),
        (["evaluators.hard.precisions=[int8, int8]"], "evaluators.hard.precisions", ["int8 stands there more than"]),
        (
            evaluator("TripletEvaluator", "evaluators.hard.precisions=[int8]"),
            "evaluators.hard.precisions",
            ["only MatryoshkaRetrievalEvaluator"],
        ),
        (["evaluators.hard.args={precisions: [int8]}"], "evaluators.hard.args.precisions", ["no such argument"]),
        # layout beir
        ([*BEIR, "datasets.train.layout=beir"], "datasets.train.use", ["for evaluation", "use: eval"]),
        ([*BEIR, "datasets.eval.path=builtin:pages"], "datasets.eval.layout", ["holds rows"]),
        ([*BEIR, "datasets.eval.name=eval"], "datasets.eval.name", ["corpus, queries and qrels"]),
        (
            [*BEIR, "datasets.eval.columns.other={role: anchor}"],
            "datasets.eval.columns",
            ["exactly one anchor column", "there is 2"],
        ),
        (
            [*BEIR, "datasets.eval.columns={a: {role: positive}}"],
            "datasets.eval.columns",
            ["exactly one anchor column", "none"],
        ),
        (
            [*BEIR, "datasets.eval.columns={a: {role: anchor}}"],
            "datasets.eval.columns",
            ["at least one positive column"],
        ),
        *[
            (
                [*BEIR, f"datasets.eval.columns.other={{role: {role}}}"],
                "datasets.eval.columns.other.role",
                ["an anchor and positives", f"found {role}"],
            )
            for role in ("negative", "label")
        ],
        (
            [*BEIR, "datasets.eval.columns.queries/title={role: positive}"],
            "datasets.eval.columns.queries/title.role",
            ["positive columns are those of corpus"],
        ),
        (
            evaluator("TripletEvaluator", *BEIR),
            "evaluators.hard.dataset",
            ["reads rows", "layout beir", "InformationRetrievalEvaluator read that"],
        ),
        (
            [*BEIR, "evaluators={}"],
            "datasets.eval.layout",
            ["no evaluator reads eval", "the loss can't be computed"],
        ),
        # model and data
        (["model.processor.min_pixels=0"], "model.processor.min_pixels", ["number 0", "above 0"]),
        (["model.processor.max_pixels=1.5"], "model.processor.max_pixels", ["1.5"]),
        (
            ["model.processor={min_pixels: 9, max_pixels: 4}"],
            "model.processor.min_pixels",
            ["9 is above", "4"],
        ),
        (["datasets.train.max_rows=0"], "datasets.train.max_rows", ["found 0", "1 or more"]),
        (["datasets.train.columns={}"], "datasets.train.columns", ["none is declared"]),
        (
            ["datasets.train.columns.return_loss={role: negative}"],
            "datasets.train.columns.return_loss",
            ["Rename"],
        ),
        # what training needs
        (["loss=[]"], "loss", ["none is declared"]),
        (["datasets.train.use=eval"], "datasets", ["none has `use: train`", "`mmst eval CONFIG` evaluates"]),
        (["datasets.train.use=eval", "loss=[]"], "datasets", ["none has `use: train`", "`mmst eval CONFIG` evaluates"]),
        (["datasets.train.use=eval", "evaluators={}", "datasets.eval.loss=[]"], "datasets", ["Training needs one."]),
        (["loss=[]", "datasets.eval.use=train", "evaluators={}"], "loss", ["none is declared for train, eval"]),
        (
            ["datasets.train.columns={a: {role: positive}}"],
            "datasets.train.columns",
            ["no columns", "anchor"],
        ),
        (
            ["datasets.train.columns.b={role: anchor}"],
            "datasets.train.columns",
            ["2 columns have the role anchor"],
        ),
        (
            ["datasets.train.columns={a: {role: anchor}}"],
            "datasets.train.columns",
            ["no column has the role positive"],
        ),
        (
            [LABELLED, "datasets.train.columns.t={role: label}"],
            "datasets.train.columns",
            ["2 columns have the role label"],
        ),
        (
            [LABELLED],
            "datasets.train.columns",
            ["2 input columns (anchor, positive) and a label", "takes 2 input columns and no label or 3"],
        ),
        (
            ["loss=[{type: CosineSimilarityLoss}]"],
            "datasets.train.columns",
            ["and no label", "takes 2 input columns and a label"],
        ),
        (
            ["loss=[{type: TripletLoss}]"],
            "datasets.train.columns",
            ["2 input columns", "takes 3 input columns and no label"],
        ),
        (
            ["loss=[{type: BatchAllTripletLoss}]"],
            "datasets.train.columns",
            ["takes 1 input column and a label"],
        ),
        (
            ["evaluators={}", "loss=[{type: MultipleNegativesSymmetricRankingLoss}]"],
            "datasets.eval.columns",
            ["3 input columns", "takes 2"],
        ),
        # the trainer's arguments
        (["training.learning_rat=1"], "training.learning_rat", ["Did you mean learning_rate?"]),
        (["training.qqqq=1"], "training.qqqq", ["no such argument", "`mmst schema training` lists"]),
        (["training.epochs=1"], "training.epochs", ["Did you mean num_train_epochs?"]),
        (["training.batch_size=1"], "training.batch_size", ["Did you mean per_device_train_batch_size?"]),
        (["training.learning_rate=fast"], "training.learning_rate", ['"fast"', "takes a number"]),
        (["training.seed=1.5"], "training.seed", ["a whole number"]),
        (["training.bf16=1"], "training.bf16", ["true or false"]),
        (["training.batch_sampler=no_duplicate"], "training.batch_sampler", ["Did you mean no_duplicates?"]),
        (["training.eval_strategy=off_"], "training.eval_strategy", ["it takes one of no, steps, epoch"]),
        (
            ["training.eval_strategy=step"],
            "training.eval_strategy",
            ["one of no, steps, epoch", "mean steps?"],
        ),
        (["training.lr_scheduler_type=cosin"], "training.lr_scheduler_type", ["Did you mean cosine?"]),
        (["training.output_dir=x"], "training.output_dir", ["output_dir at the top"]),
        (["training.run_name=x"], "training.run_name", ["run_name at the top"]),
        (["training.resume_from_checkpoint=x"], "training.resume_from_checkpoint", ["--resume"]),
        (["training.do_train=true"], "training.do_train", ["leave it out"]),
        (
            ["model.attn_implementation=flash_attention"],
            "model.attn_implementation",
            ["Did you mean", "kernels-community/"],
        ),
        (["model.attn_implementation=a b/c"], "model.attn_implementation", ["takes one of auto"]),
        (["training.bf16=true", "training.fp16=true"], "training.fp16", ["bf16 is on as well"]),
        (["training.label_smoothing_factor=0.1"], "training.label_smoothing_factor", ["do nothing", "classes"]),
        (["training.debug=underflow_overflow"], "training.debug", ["do nothing", "first loss, gradient or weight"]),
        (["training.label_names=[score]"], "training.label_names", ["do nothing", "role of a column"]),
        (["training.include_for_metrics=[inputs]"], "training.include_for_metrics", ["do nothing", "evaluators get"]),
        (["training.include_num_input_tokens_seen=all"], "training.include_num_input_tokens_seen", ["metrics.jsonl"]),
        (["training.enable_jit_checkpoint=true"], "training.enable_jit_checkpoint", ["SIGTERM save a checkpoint"]),
        (["training.save_on_each_node=true"], "training.save_on_each_node", ["the first process alone writes"]),
        (["training.log_level=loud"], "training.log_level", ["one of debug, info"]),
        (["training.ddp_backend=glo"], "training.ddp_backend", ["Did you mean gloo?"]),
        (["training.ddp_bucket_cap_mb=-1"], "training.ddp_bucket_cap_mb", ["1 or more"]),
        (["training.train_sampling_strategy=sequential"], "training.train_sampling_strategy", ["batch_sampler says"]),
        (["training.learning_rate_mapping={a: -1, b: .nan}"], "training.learning_rate_mapping.a", ["0 or more"]),
        (["training.batch_sampler=3"], "training.batch_sampler", ["takes one of batch_sampler, no_duplicates"]),
        (["training.multi_dataset_batch_sampler=3"], "training.multi_dataset_batch_sampler", ["one of round_robin"]),
        (["training.prompts={query: 'q: ', imge: 'd: '}"], "training.prompts.imge", ["Did you mean image?"]),
        (["training.prompts={train: {imge: 'd: '}}"], "training.prompts.train.imge", ["Did you mean image?"]),
        (["training.eval_strategy=3"], "training.eval_strategy", ["takes one of no, steps, epoch."]),
        (["model.dtype=float16", "training.fp16=true"], "training.fp16", ["model.dtype is float16", "dtype=float32"]),
        # best model
        (BEST, "training.metric_for_best_model", ["missing", "eval_hard_cosine_ndcg@10"]),
        (
            ["training.save_strategy=best", "training.eval_strategy=epoch"],
            "training.metric_for_best_model",
            ["missing"],
        ),
        (
            ["training.save_strategy=best", "training.metric_for_best_model=hard_cosine_ndcg@10"],
            "training.save_strategy",
            ["needs evaluations"],
        ),
        (
            [*BEST, "training.metric_for_best_model=eval_hard_ndcg@10"],
            "training.metric_for_best_model",
            ["writes eval_hard_ndcg@10", "Set it to eval_hard_cosine_ndcg@10"],
        ),
        *[
            (
                [*BEST, f"training.metric_for_best_model={metric}"],
                "training.metric_for_best_model",
                ["no evaluator"],
            )
            for metric in (
                *("loss", "eval_loss", "eval_sequential_score", "eval_hard_dim_16_cosine_ndcg@10"),
                *("hard_cosine_ndcg@5", "easy_cosine_ndcg@10", "eval_hard_cosine_map@10"),
            )
        ],
        (
            evaluator("TripletEvaluator", *BEST, "training.metric_for_best_model=eval_x_cosine_accuracy"),
            "training.metric_for_best_model",
            ["no evaluator"],
        ),
        (
            [*BEST, "training.metric_for_best_model=x", "evaluators.hard.args={ndcg_at_k: [5, 20]}"],
            "training.metric_for_best_model",
            ["eval_hard_cosine_ndcg@20"],
        ),
        (
            [*NAMED, "training.eval_strategy=epoch"],
            "training.save_strategy",
            ["it is steps", "eval_strategy is epoch"],
        ),
        (["training.load_best_model_at_end=true"], "training.save_strategy", ["eval_strategy is no"]),
        (
            [*NAMED, "training.save_steps=750"],
            "training.save_steps",
            ["it is 750", "eval_steps is 500", "multiple"],
        ),
        ([*NAMED, "training.eval_steps=100", "training.save_steps=50"], "training.save_steps", ["multiple"]),
        ([*NAMED, "training.logging_steps=30"], "training.save_steps", ["eval_steps is 30", "multiple"]),
        ([*NAMED, "training.eval_steps=0.1"], "training.save_steps", ["can't be compared"]),
        (
            [*NAMED, "training.eval_steps=0.1", "training.save_steps=0.15"],
            "training.save_steps",
            ["multiple"],
        ),
    ],
)
def test_a_broken_rule_is_named_by_its_key(load, overrides, key, words):
    faults = faults_of(load(*overrides))
    mine = [fault for fault in faults if fault.startswith(f"{key}: ")]
    assert mine, faults
    for word in words:
        assert any(word in fault for fault in mine), mine


def test_an_evaluation_strategy_needs_something_to_evaluate(load):
    config = load("training.eval_strategy=steps", "evaluators={}")
    del config.datasets["eval"]
    (fault,) = faults_of(config)
    assert fault.startswith("training.eval_strategy: it is steps, but there is nothing to evaluate.")


def test_faults_of_different_rules_come_together(load):
    config = load("loss.0.type=X", "training.bf16=1", "evaluators.hard.dataset=x", "datasets.train.max_rows=0")
    keys = {fault.partition(":")[0] for fault in faults_of(config)}
    assert keys == {"loss.0.type", "training.bf16", "evaluators.hard.dataset", "datasets.train.max_rows"}


def test_dimensions_repeated_throughout_are_told_once(load):
    dims = [64, 64]
    config = load(*(f"{key}={dims}" for key in ("matryoshka_dims", "evaluators.hard.dims")))
    config.loss[1].args["matryoshka_dims"] = dims
    assert [fault.partition(":")[0] for fault in faults_of(config)] == ["matryoshka_dims"]


def test_evaluation_needs_an_evaluator_and_neither_loss_nor_training_data(load):
    config = load("loss=[]", "training.load_best_model_at_end=true", "datasets.train.use=eval")
    assert check_config(config, for_training=False) == []
    (fault,) = faults_of(load("evaluators={}"), for_training=False)
    assert fault.startswith("evaluators: none is declared")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["training={}"], ["training.batch_sampler: MultipleNegativesRankingLoss", "no_duplicates"]),
        (["training.batch_sampler=batch_sampler"], ["training.batch_sampler: "]),
        (
            ["loss=[{type: MegaBatchMarginLoss}]", "training={}"],
            ["training.batch_sampler: MegaBatchMarginLoss"],
        ),
        (
            [
                "loss=[{type: BatchAllTripletLoss}]",
                "datasets.train.columns={query: {role: anchor}, kind: {role: label}}",
            ],
            ["training.batch_sampler: BatchAllTripletLoss", "group_by_label"],
        ),
        (["evaluators.hard.dims=[64, 16]"], ["evaluators.hard.dims: 16 will be measured", "64, 32 will be"]),
        (
            ["datasets.eval.columns.page_id={role: negative}"],
            ["datasets.eval.columns.page_id: ", "identifier"],
        ),
        (["datasets.train.columns.id={role: negative}"], ["datasets.train.columns.id: "]),
        (
            [*NAMED, "training.eval_steps=0.1", "training.save_steps=0.3"],
            ["training.save_steps: 0.3", "rounded up"],
        ),
    ],
)
def test_warnings(load, overrides, words):
    (warning,) = check_config(load(*overrides))
    for word in words:
        assert word in warning


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.batch_sampler=no_duplicates_hashed"],
        ["loss=[{type: CosineSimilarityLoss}]", LABELLED, "training={}"],
        ["datasets.eval.columns.page_id={role: negative, modality: image}"],
        ["evaluators.hard.dims=[32]"],
        [*NAMED, "training.eval_steps=50", "training.save_steps=150"],
    ],
)
def test_no_warning_where_none_is_due(load, overrides):
    assert check_config(load(*overrides)) == []


def test_loading_and_checking_import_no_library():
    code = (
        "import sys\nfrom mmst_cli.config.load import load_config\n"
        "from mmst_cli.config.rules import check_config\n"
        "check_config(load_config(sys.argv[1]))\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers', 'datasets'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(CONFIGS / "vdr.yaml")]
    assert subprocess.check_output(command, text=True).strip() == "[]"


def test_fields_that_change_nothing_are_told_of_in_one_sentence(load):
    given = ["training.skip_memory_metrics=false", "training.remove_unused_columns=false", "training.local_rank=-1"]
    (warning,) = check_config(load(*given, "training.label_smoothing_factor=0", "training.debug=''"))
    assert warning.startswith("training.remove_unused_columns, training.skip_memory_metrics: ")
    assert check_config(load("training.label_smoothing_factor=0.1"), for_training=False) == []  # a run from before
