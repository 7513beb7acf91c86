"""Keys of a config that change what a run takes, each with the value to plan again with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmst_cli.config.schema import Config, Dtype, Modality
from mmst_cli.planning.plan_result import STARVES, TOO_LARGE, Plan
from mmst_cli.processes import processors

WORTH_ADAPTING = 100_000_000
"""Trained parameters above which an adapter is proposed."""
WORTH_EVALUATING = 0.05
"""Share of a run in evaluations, above which fewer are proposed."""


PRICES = {
    "max_pixels": "images are seen at half the pixels, which may cost quality",
    "gradient_checkpointing": "the forward pass is computed again",
    "dtype": "weights and their updates are rounded to bfloat16",
    "adapter": "only an adapter is trained",
    "eval_steps": "it is evaluated half as often",
    "per_device_train_batch_size": "an anchor has fewer negatives",
    "fast_jpeg": "pixels differ in their last bits",
}
"""The last part of a key to what the change does beside saving."""


def worth_trying(config: Config, plan: Plan, *, on_gpu: bool) -> Iterator[tuple[str, Any]]:
    """Yield keys with values that may mend what the verdict found, or else save time.

    Args:
        config: of the plan.
        plan: what it takes as it is.
        on_gpu: whether the device is one.
    """
    if plan.verdict == TOO_LARGE:
        yield from _for_memory(config, plan, on_gpu)
    elif plan.verdict == STARVES:
        yield from _for_feeding(config, plan)
    else:
        yield from _for_time(config, plan, on_gpu)


def _for_memory(config: Config, plan: Plan, on_gpu: bool) -> Iterator[tuple[str, Any]]:
    sizes, training = plan.facts.mini_batches, config.training
    if sizes.cached and not sizes.fits:
        size = sizes.tokens or sizes.rows or 1
        if size > 1 and sizes.key:
            yield sizes.key, size // 2
    elif not sizes.cached and plan.facts.work.batch > 1:
        yield "training.per_device_train_batch_size", plan.facts.work.batch // 2
    if not (training.get("gradient_checkpointing") or training.get("activation_checkpointing")):
        yield "training.gradient_checkpointing", True
    weights = plan.facts.weights
    if on_gpu and weights.bytes >= 4 * weights.parameters and not config.model.routes:
        yield "model.dtype", str(Dtype.bfloat16)
    if config.model.adapter is None and not config.model.routes and plan.facts.weights.trained > WORTH_ADAPTING:
        yield "model.adapter", {}
    yield from _fewer_pixels(config, plan)


def _for_feeding(config: Config, plan: Plan) -> Iterator[tuple[str, Any]]:
    cores, asked = processors(), config.training.get("dataloader_num_workers")
    if asked is not None and asked < cores:
        yield "training.dataloader_num_workers", cores
    if _large_images(plan):
        yield "media.fast_jpeg", True
    yield from _fewer_pixels(config, plan)
    yield from _fewer_evaluations(config, plan)


def _for_time(config: Config, plan: Plan, on_gpu: bool) -> Iterator[tuple[str, Any]]:
    sizes, training = plan.facts.mini_batches, config.training
    if on_gpu and not plan.facts.half:
        yield "training.bf16", True
    if sizes.cached and sizes.key and not sizes.fits and on_gpu:
        now = sizes.tokens or sizes.rows or 1
        if sizes.tokens or now < plan.facts.work.batch:
            yield sizes.key, 2 * now
    for name in ("gradient_checkpointing", "activation_checkpointing"):
        if training.get(name):
            yield f"training.{name}", False
    yield from _fewer_pixels(config, plan)
    yield from _fewer_evaluations(config, plan)


def _fewer_pixels(config: Config, plan: Plan) -> Iterator[tuple[str, Any]]:
    """Yield half of the pixels that images are seen with, where the processor has a bound by pixels."""
    seen = [one.sampled.pixels_seen["max"] for one in plan.facts.columns if one.sampled.pixels_seen]
    if seen and "max_pixels" in config.model.processor:
        yield "model.processor.max_pixels", int(max(seen) // 2)


def _fewer_evaluations(config: Config, plan: Plan) -> Iterator[tuple[str, Any]]:
    steps = config.training.get("eval_steps")
    if steps is None or config.training.get("eval_strategy") != "steps" or not config.evaluators:
        return
    if evaluating_share(plan) > WORTH_EVALUATING and plan.facts.work.evaluations > 2:
        yield "training.eval_steps", min(0.5, 2 * steps) if steps < 1 else 2 * steps


def evaluating_share(plan: Plan) -> float:
    """Return which share of a run's time evaluations take."""
    time: Any = plan.time
    if time is None or not plan.seconds:
        return 0.0
    spent = (
        time.evaluating
        if isinstance(time.evaluating, float)
        else time.evaluating.at_least(time.feeding_evaluations).high
    )
    return float(spent) / max(plan.seconds[1], 1e-9)


def _large_images(plan: Plan) -> bool:
    images = [one.sampled for one in plan.facts.columns if one.sampled.modality == str(Modality.image)]
    return any(
        one.pixels and one.pixels_seen and one.pixels["median"] > 4 * one.pixels_seen["median"] for one in images
    )
