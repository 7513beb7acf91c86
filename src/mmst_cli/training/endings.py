"""What is said where training ends before its time: why, what was kept, and how it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmst_cli.aside import FAILED, is_aside
from mmst_cli.config.automatic_sizes import SIZE
from mmst_cli.config.rules_loss import loss_keys, loss_layers, training_datasets
from mmst_cli.config.schema import AUTO, Config
from mmst_cli.errors import WorkError, is_memory_shortage
from mmst_cli.evaluation.finite_vectors import BrokenVectorsError
from mmst_cli.runs import RunFolder
from mmst_cli.training.dead_run import DeadRunError, write_rows
from mmst_cli.training.failed_run import way_on

if TYPE_CHECKING:
    from mmst_cli.training.trainer import RunTrainer


@contextmanager
def told_how_it_ended(config: Config, run: RunFolder | None, trainer: RunTrainer) -> Iterator[None]:
    """Turn what ends training into sentences: numbers that are none any more, and memory that is too small.

    Args:
        config: the config.
        run: where the rows that it ended at are listed; None for a dry run, which writes nothing.
        trainer: what trains.

    Raises:
        WorkError: in place of these errors.
    """
    try:
        yield
    except DeadRunError as error:
        if run is None:
            raise
        said = [str(error)]
        if error.batches:
            rank = f"-rank{trainer.args.process_index}" if trainer.args.world_size > 1 else ""
            path = run.dead_batch.with_stem(run.dead_batch.stem + rank)
            write_rows(path, error.batches, {rows.key: rows for rows in trainer.row_sets})
            back = is_aside(run.path) and not run.checkpoints()  # then this run makes room for the one before
            said.append(f"The rows of the batch are listed in {run.path / FAILED / path.name if back else path}.")
        raise WorkError(" ".join([*said, *_of_the_weights(run)]).strip()) from error
    except BrokenVectorsError as error:
        if run is None:
            raise
        said = [f"step {trainer.state.global_step}: {error}", *_of_the_weights(run)]
        raise WorkError(" ".join(said).strip()) from error
    except Exception as error:
        if not is_memory_shortage(error):
            raise
        keys = {loss_keys(config)[name] for name in training_datasets(config)}
        raise WorkError(less_memory(config, f"at step {trainer.state.global_step + 1}", keys)) from error


def how_to_go_on(run: RunFolder) -> str:
    """Return the sentence about how to go on; none where the run that was to be replaced comes back."""
    return "" if is_aside(run.path) else way_on(run)


def _of_the_weights(run: RunFolder) -> list[str]:
    whole = run.checkpoints()
    return [
        "No model was saved. Lower training.learning_rate, or look at these rows.",
        f"The last whole checkpoint is {whole[-1]}: {how_to_go_on(run)}" if whole else how_to_go_on(run),
    ]


def less_memory(config: Config, where: str, keys: Iterable[str]) -> str:
    """Return the sentence about a loss that has no room: where that was, and what to lower.

    Args:
        config: the config.
        where: that, beginning with a preposition.
        keys: the dotted keys of the losses that it may have been.
    """
    losses = {key: loss_layers(config, key)[0] for key in sorted(keys)}
    cached = {key: loss.args for key, loss in losses.items() if "cached" in loss.type.lower()}
    found = [key for key, args in cached.items() if args.get(SIZE) == AUTO]  # it is tried with one row at a time
    sizes = [f"{key}.0.args.{_mini_batch(args)}" for key, args in cached.items() if key not in found]
    sizes = sizes if sizes or found else ["training.per_device_train_batch_size"]
    return (
        f"out of memory {where}. Lower {' or '.join([*sizes, 'model.processor.max_pixels'])}, or set"
        " training.gradient_checkpointing=true."
    )


def _mini_batch(args: Mapping[str, Any]) -> str:
    return "mini_batch_size" if args.get("mini_batch_num_tokens") is None else "mini_batch_num_tokens"
