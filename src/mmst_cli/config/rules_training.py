"""Rules for `training`: the trainer's own arguments, their types, and how they go together."""

from __future__ import annotations

from typing import Any

from mmst_cli.config.arguments import describe, wanted_type
from mmst_cli.config.rules_evaluators import is_written, primary_metric
from mmst_cli.config.rules_loss import loss_datasets
from mmst_cli.config.schema import Config, Dtype
from mmst_cli.config.signatures import TRAINER_FIELDS_ELSEWHERE, training_fields
from mmst_cli.errors import did_you_mean

OURS = {
    "output_dir": "set output_dir at the top of the file",
    "run_name": "set run_name at the top of the file",
    "resume_from_checkpoint": "go on with a run by `mmst train CONFIG --resume`",
    "do_train": "leave it out; `mmst train` trains",
    "do_eval": "leave it out; eval_strategy says whether and when",
    "do_predict": "leave it out; nothing is predicted",
}
UNSCALABLE = (
    "and fp16 scales losses so that gradients keep their small values, which it can't do with gradients in float16."
    " Write model.dtype=float32."
)
"""Why float16 weights can't be trained under fp16, and what to write."""
_INTERVAL = 500  # the trainer's default for save_steps and logging_steps, in steps


def check_training_fields(training: dict[str, Any]) -> list[str]:
    """Return the faults of single fields: unknown, ours, or of a wrong type."""
    known = training_fields()
    faults = []
    for name, value in training.items():
        key = f"training.{name}"
        if name in OURS:
            faults.append(f"{key}: mmst sets this; {OURS[name]}.")
        elif known and name not in known:
            meant = TRAINER_FIELDS_ELSEWHERE.get(name)
            suggestion = f" Did you mean {meant}?" if meant else did_you_mean(name, known)
            suggestion = suggestion or " `mmst schema training` lists those there are."
            faults.append(f"{key}: the trainer has no such argument.{suggestion}")
        elif known and (wanted := wanted_type(value, known[name])):
            meant = did_you_mean(value, wanted.removeprefix("one of ").split(", ")) if isinstance(value, str) else ""
            faults.append(f"{key}: found {describe(value)}, but it takes {wanted}.{meant}")
    if training.get("bf16") is True and training.get("fp16") is True:
        faults.append("training.fp16: bf16 is on as well. Keep one of the two.")
    return faults


def check_scaling(config: Config) -> list[str]:
    """Return the fault of training float16 weights under fp16; the weights of an adapter are float32."""
    if config.training.get("fp16") is True and config.model.dtype is Dtype.float16 and config.model.adapter is None:
        return [f"training.fp16: true, but model.dtype is float16, {UNSCALABLE}"]
    return []


def check_schedule(config: Config) -> list[str]:
    """Return the faults of evaluation and saving: nothing to evaluate, steps that don't meet."""
    training, faults = config.training, []
    if _strategy(training, "eval") != "no" and not config.evaluators and not loss_datasets(config):
        faults.append(
            f"training.eval_strategy: it is {_strategy(training, 'eval')}, but there is nothing to evaluate."
            " Add an evaluator or a `use: eval` dataset, or leave it out."
        )
    if training.get("eval_on_start") is True and not config.evaluators and not loss_datasets(config):
        faults.append("training.eval_on_start: there is nothing to evaluate. Add an evaluator, or leave it out.")
    if training.get("load_best_model_at_end") is True and _strategy(training, "save") != "best":
        faults += _check_strategies_meet(training)
    elif _strategy(training, "save") == "best" and _strategy(training, "eval") == "no":
        faults.append("training.save_strategy: best needs evaluations. Set training.eval_strategy to steps or epoch.")
    return faults


def check_best_model(config: Config) -> list[str]:
    """Return the faults of best-model options: no metric named, or one that nothing writes."""
    training, key = config.training, "training.metric_for_best_model"
    metric, primary = training.get("metric_for_best_model"), primary_metric(config)
    suggestion = f" Set it to {primary}." if primary else ""
    wants_metric = training.get("load_best_model_at_end") is True or _strategy(training, "save") == "best"
    if metric is None and wants_metric:
        return [f"{key}: missing. Without it there is no telling which checkpoint is best.{suggestion}"]
    if not isinstance(metric, str) or is_written(metric, config):
        return []
    return [f"{key}: no evaluator of this config writes {metric}.{suggestion}"]


def warn_of_steps(config: Config) -> list[str]:
    """Return a warning where rounding may part saving from evaluation."""
    training = config.training
    save, evaluate = _save_steps(training), _eval_steps(training)
    if not training.get("load_best_model_at_end") or _strategy(training, "save") != "steps":
        return []
    if save == evaluate or save >= 1:
        return []
    return [
        f"training.save_steps: {save} and training.eval_steps {evaluate} are each rounded up to whole steps,"
        " so a checkpoint may fall between two evaluations. Equal fractions or numbers of steps always meet."
    ]


def _check_strategies_meet(training: dict[str, Any]) -> list[str]:
    evaluation, saving = _strategy(training, "eval"), _strategy(training, "save")
    if evaluation != saving:
        return [
            f"training.save_strategy: it is {saving} and training.eval_strategy is {evaluation}; for"
            " load_best_model_at_end they must be the same, so that every checkpoint has a score."
        ]
    save, evaluate = _save_steps(training), _eval_steps(training)
    if saving != "steps" or not _positive(save) or not _positive(evaluate):
        return []
    found = f"training.save_steps: it is {save} and training.eval_steps is {evaluate};"
    if (save < 1) != (evaluate < 1):
        return [
            f"{found} one is a share of all steps and the other a number of steps, so they can't be compared."
            " Give both in the same way."
        ]
    ratio = save / evaluate
    if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-6:
        return [f"{found} for load_best_model_at_end it must be a multiple. Set it to {evaluate}."]
    return []


def _strategy(training: dict[str, Any], what: str) -> str:
    default = {"eval": "no", "save": "steps"}[what]
    value = training.get(f"{what}_strategy", default)
    return value if isinstance(value, str) else default


def _save_steps(training: dict[str, Any]) -> Any:
    return training.get("save_steps", _INTERVAL)


def _eval_steps(training: dict[str, Any]) -> Any:
    # The trainer takes logging_steps where eval_steps is left out or 0.
    return training.get("eval_steps") or training.get("logging_steps", _INTERVAL)


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
