"""`mmst plan`: its arguments."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, Overrides, loading, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_device
from mmst_cli.errors import ConfigError


def plan(
    config: Annotated[Path, typer.Argument(help="The YAML file of the run.")],
    overrides: Overrides = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_device,
            help="Plan for h100-80, a100-80, l40s, rtx-4090 or rtx-3090-24, without weights; left out, measure here.",
        ),
    ] = None,
    cost: Annotated[float | None, typer.Option(help="What an hour of the device costs, of each of several.")] = None,
    num_processes: Annotated[
        int, typer.Option(help="Processes that train together, each on a device like the one named by --device.")
    ] = 1,
    probe: Annotated[
        bool, typer.Option("--probe", help="Try growing mini-batches: peak memory and samples a second of each.")
    ] = False,
    rows: Annotated[int, typer.Option(help="Rows of each column to look at; of media 16 at most.")] = 32,
    json_output: Json = False,
) -> None:
    """Say what a run will take before it starts. That is tokens, steps, memory, disk and hours of training.

    Rows are read and processed, and on this machine a few real steps are taken. Nothing is written.

    Example: mmst plan configs/vdr.yaml --device h100-80 --cost 2.5
    """
    with told_in_one_line():
        _check(cost, rows, probe, device, num_processes)
        from mmst_cli.config.rules import load_checked_config
        from mmst_cli.config.rules_processes import check_together

        settings = load_checked_config(config, overrides or [])  # before torch is imported, which takes seconds
        if faults := check_together(settings, num_processes):
            raise ConfigError(*faults)
        from mmst_cli.planning.devices import find_device
        from mmst_cli.terminal import Terminal

        named = None if device is None else find_device(device)
        terminal = Terminal(json_results=json_output)
        begun = time.perf_counter()
        with loading(terminal):
            from mmst_cli.planning.plan_page import show_plan
            from mmst_cli.training.plan import PlanOptions, run_plan
        options = PlanOptions(str(config), named, cost, probe, rows, num_processes, time.perf_counter() - begun)
        found = run_plan(settings, options, terminal)
        if json_output:
            print_json(found.to_dict())
        else:
            show_plan(found, terminal)


def _check(cost: float | None, rows: int, probe: bool, device: str | None, processes: int) -> None:
    """Raise where options can't be meant.

    Raises:
        ConfigError: they can't.
    """
    faults = []
    if cost is not None and not (math.isfinite(cost) and cost >= 0):
        faults.append(f"--cost: found {cost:g}; what an hour costs is 0 or more.")
    if rows < 1:
        faults.append(f"--rows: found {rows}; at least 1 row is looked at.")
    if probe and device is not None:
        faults.append("--probe: it tries this machine's own device; leave out --device.")
    if processes < 1:
        faults.append(f"--num-processes: {processes}; it takes 1 or more.")
    if processes > 1 and device is None:
        faults.append("--num-processes: what is measured here is one process; name what each takes by --device.")
    if faults:
        raise ConfigError(*faults)
