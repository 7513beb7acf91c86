"""Rules for what several processes can't do together, and for ways to share a model that aren't supported."""

from __future__ import annotations

import os

from mmst_cli import processes
from mmst_cli.config.rules_loss import loss_keys
from mmst_cli.config.schema import Config, OnBadRow

_INSTEAD = (
    "Each process holds the whole model here (plain data parallelism). Leave it out; where memory is short, use a"
    " Cached loss with a small mini_batch_size, gradient_checkpointing or bfloat16 weights."
)
_SHARDED = {"fsdp": "FSDP", "fsdp_config": "FSDP", "deepspeed": "DeepSpeed", "parallelism_config": "a device mesh"}
_FROM_LAUNCHER = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a device mesh",
}
_COMPILER = "ACCELERATE_DYNAMO_BACKEND"
_YES = ("y", "yes", "t", "true", "on", "1")
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables in which launchers say how many processes there are; the libraries go by each of them."""


def check_processes(config: Config) -> list[str]:
    """Return the faults of a model spread over processes, and of what the processes that there are can't do."""
    faults = [
        f"training.{name}: {what} isn't supported: an evaluation or a checkpoint of a spread model was never shown to"
        f" be right. {_INSTEAD}"
        for name, what in _SHARDED.items()
        if config.training.get(name)
    ]
    faults += [
        f"training: the launcher asks for {what} ({name}), which isn't supported. {_INSTEAD} Choose plain multi-GPU in"
        " `accelerate config`, or start by `mmst train CONFIG --num-processes N`."
        for name, what in _FROM_LAUNCHER.items()
        if os.environ.get(name, "").lower() in _YES
    ]
    if (backend := os.environ.get(_COMPILER, "no").lower()) != "no" and not config.training.get("torch_compile"):
        faults.append(
            f"training.torch_compile: the launcher asks for it ({_COMPILER}: {backend}), and the record of the run"
            f" would not say so. Write training.torch_compile=true and training.torch_compile_backend={backend}, or"
            " answer no to it in `accelerate config`."
        )
    return [*faults, *_check_launcher(), *check_together(config, processes.count())]


def _check_launcher() -> list[str]:
    """Return the fault of a launcher that says only in part which process this is: each would write the whole run."""
    missing = [name for name in processes.VARIABLES if name not in os.environ]
    found = [name for name in _SIZES if os.environ.get(name, "1") not in ("", "1")]
    found += [name for name in ("LOCAL_RANK",) if os.environ.get(name, "-1") not in ("", "-1")]
    if not missing or not found:
        return []
    return [
        f"training: {found[0]} is {os.environ[found[0]]}, as if a launcher had started several processes, but"
        f" {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set. Start them by torchrun, `accelerate"
        f" launch` or `mmst train CONFIG --num-processes N`, or unset {found[0]}."
    ]


def check_together(config: Config, count: int) -> list[str]:
    """Return the faults of a config for so many processes."""
    if count == 1:
        return []
    faults = []
    for name in loss_keys(config):
        section = config.datasets[name]
        if section.on_bad_row is OnBadRow.skip:
            faults.append(
                f"datasets.{name}.on_bad_row: skip leaves batches of different sizes to {count} processes,"
                " which can't compute together then. Write the rows that can be read by"
                " `mmst check CONFIG --all --write-clean FILE` and train on those, or train in one process."
            )
        if section.streaming:
            faults.append(
                f"datasets.{name}.streaming: {count} processes would take different numbers of batches from"
                " a stream. Leave it out, so that the rows are stored, or train in one process."
            )
    if config.training.get("auto_find_batch_size"):
        faults.append(
            f"training.auto_find_batch_size: each of {count} processes would find a size of its own. Leave it out, and"
            " write per_device_train_batch_size."
        )
    given = config.training.get("accelerator_config")
    if isinstance(given, str):
        faults.append("training.accelerator_config: found a file's name. Write what is in it here.")
    for name in ("split_batches", "dispatch_batches"):
        if isinstance(given, dict) and given.get(name):
            faults.append(
                f"training.accelerator_config.{name}: batches are dealt out to the processes by mmst. Leave it out."
            )
    return faults
