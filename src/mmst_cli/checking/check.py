"""`mmst check`: everything that training would check, and then the data themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmst_cli import processes
from mmst_cli.checking.check_page import write_page
from mmst_cli.checking.check_result import PAGE, CheckResult, begin_output, check_output, finish_output
from mmst_cli.checking.check_summary import say_what_is_examined, show_result
from mmst_cli.checking.checked_sets import CheckedSet, Numbers, distinct_contents, open_sets
from mmst_cli.checking.clean_rows import Cleaned, choose_dataset, reasons_path, write_clean
from mmst_cli.checking.column_statistics import describe, find_skewed_labels, find_unusable_labels
from mmst_cli.checking.examination import examine_contents
from mmst_cli.checking.false_negatives import find_false_negatives
from mmst_cli.checking.findings import DROPPED, KINDS, Checked, Finding, Harm
from mmst_cli.checking.input_faults import find_bad_inputs
from mmst_cli.checking.processed_inputs import Processed, find_refused_inputs, find_truncated, process_columns
from mmst_cli.checking.repeated_inputs import find_leaks, find_relations
from mmst_cli.checking.same_inputs import find_same_contents
from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.rules import check_config
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, RunError, did_you_mean
from mmst_cli.model.prompts import column_prompts
from mmst_cli.output_claim import claimed
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.sources.places import would_read
from mmst_cli.sources.tables import choose_indices
from mmst_cli.storage import digest, told_of_disk
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.work import check_choice

SAMPLE = 1000  # rows of a dataset that are examined without --all
Trainable = Callable[[Config, Mapping[str, Rows]], None]


@dataclass(frozen=True)
class CheckOptions:
    """What `mmst check` is asked for, besides the config.

    Attributes:
        sample: rows of each dataset that are examined; None for all.
        output: folder for check.json and check.html; `checks/<run_name>` if left out.
        fail_on: kinds of findings that count as a failure; those that are serious if left out.
        write_clean: parquet file for the rows that remain.
        dataset: which dataset that is.
        drop: kinds of findings whose rows are left out of it.
        model: give inputs to the model's processor, whose weights aren't read.
        workers: processes; as many as there are processors if left out.
        resume: go on with a check that was interrupted.
        overwrite: replace what an earlier check wrote.
    """

    sample: int | None = SAMPLE
    output: Path | None = None
    fail_on: tuple[str, ...] | None = None
    write_clean: Path | None = None
    dataset: str | None = None
    drop: tuple[str, ...] = DROPPED
    model: bool = True
    workers: int | None = None
    resume: bool = False
    overwrite: bool = False


def run_check(
    config: Config,
    options: CheckOptions | None = None,
    terminal: Terminal | None = None,
    trainable: Trainable | None = None,
) -> CheckResult:
    """Look for what spoils training in the data of a config.

    Args:
        config: the config, for training.
        options: what else is asked for.
        terminal: where to show progress and what was found.
        trainable: raises what training would raise about its arguments, losses and the rows they are computed on.

    Raises:
        MmstError: a mistake in options, config or model, or data that can't be opened at all.
    """
    options, terminal = options or CheckOptions(), terminal or Terminal()
    begun = time.perf_counter()
    for warning in check_config(config):
        terminal.warn(warning)
    check_options(config, options)
    output = options.output or Path("checks") / config.run_name
    clean = options.write_clean
    then = "The same command with --resume goes on behind what is done."
    clean_claimed = claimed(clean, "--write-clean", is_file=True) if clean else nullcontext()
    with clean_claimed, claimed(output, "--output"), told_of_disk(output, then):
        _refuse_if_written(options)
        return _check(config, options, output, terminal, trainable, begun)


def _check(
    config: Config, options: CheckOptions, output: Path, terminal: Terminal, trainable: Trainable | None, begun: float
) -> CheckResult:
    check_output(output, resume=options.resume, overwrite=options.overwrite)
    quiet_libraries(terminal)
    rows, sets = open_sets(config, stream_rows=options.sample)
    if trainable is not None:
        trainable(config, rows)
    model = _load(config, rows) if options.model else None
    checked = _examine(config, options, sets, output, terminal)
    prompts = column_prompts(config, {one.name: one.rows for one in sets if one.is_training})
    processed = process_columns(model, checked, prompts) if model is not None else []
    described = describe(checked)
    findings = _find(config, checked, processed, described)
    for one in processed:
        described[one.dataset][one.column]["processed"] = one.to_dict()
    cleaned = _clean(config, checked, findings, options)
    failed = _failures(findings, options.fail_on)
    seconds = time.perf_counter() - begun
    sample = None if _is_whole(sets, options.sample) else options.sample
    result = CheckResult(output, findings, described, failed, cleaned, sample, seconds)
    write_page(output / PAGE, result, config, checked)
    finish_output(result)
    show_result(result, sets, terminal)
    return result


def _is_whole(sets: list[CheckedSet], sample: int | None) -> bool:
    """Say whether every row of every set was in the sample. Of a stream nobody knows whether more would come."""
    return sample is None or all(len(one.rows) <= sample and not one.section.streaming for one in sets)


def check_options(config: Config, options: CheckOptions) -> None:
    """Check the options before anything is loaded.

    Raises:
        ConfigError: a kind that there isn't, a number below 1, or options that exclude each other.
    """
    for option, kinds in {"--fail-on": options.fail_on or (), "--drop": options.drop}.items():
        for kind in kinds:
            if kind not in (KINDS if option == "--fail-on" else DROPPED):
                known = KINDS if option == "--fail-on" else DROPPED
                raise ConfigError(f"{option}: {kind}: there are {', '.join(known)}.{did_you_mean(kind, known)}")
    for option, number in {"--sample": options.sample, "--workers": options.workers}.items():
        if number is not None and number < 1:
            raise ConfigError(f"{option}: {number}; write a whole number above 0.")
    check_choice(resume=options.resume, overwrite=options.overwrite)
    if options.write_clean is None:
        if options.dataset is not None:
            raise ConfigError("--dataset: it says what --write-clean writes. Add that, or leave it out.")
        return
    if options.sample is not None:
        raise ConfigError("--write-clean: cleaning takes a look at every row. Add --all.")
    if options.write_clean.suffix != ".parquet":
        raise ConfigError(f"--write-clean: {options.write_clean}: name a .parquet file.")
    name = choose_dataset(config, options.dataset)
    if would_read(config.datasets[name].path, options.write_clean):
        raise ConfigError(
            f"--write-clean: {options.write_clean} is, or would be, part of datasets.{name}. Name another file."
        )


def _refuse_if_written(options: CheckOptions) -> None:
    clean = options.write_clean
    for path in (clean, reasons_path(clean)) if clean and not options.overwrite else ():
        if path.exists():
            raise RunError(f"--write-clean: {path} exists. Name another file, or add --overwrite.")


def _load(config: Config, rows: Mapping[str, Rows]) -> Any:
    from mmst_cli.preparing.prepared_model import declared_dims, prepare_model

    return prepare_model(config.model, None, rows, prompts=config.prompts, dims=declared_dims(config)).model


def _examine(
    config: Config, options: CheckOptions, sets: list[CheckedSet], output: Path, terminal: Terminal
) -> Checked:
    """Examine the chosen rows, part by part, and compare what they hold."""
    seed = config.seed
    rows = [np.array(choose_indices(len(one.rows), options.sample, seed), dtype=np.int64) for one in sets]
    say_what_is_examined(sets, rows, terminal)
    with terminal.waiting("reading what is stored"):
        contents = distinct_contents(sets)
    chosen = _chosen(contents.of, rows)
    job = digest(config_to_yaml(config), options.sample, contents.digest)
    work = begin_output(output, job, resume=options.resume)
    workers = options.workers or processes.processors()
    try:
        with terminal.progress("looking at inputs", len(chosen)) as progress:
            examined = examine_contents(sets, contents, chosen, work, workers, progress)
        if progress.done:
            terminal.say(progress.summary())
        with terminal.progress("comparing what looks alike") as progress:
            same = find_same_contents(sets, contents, examined, work, workers, progress)
        if progress.done:
            terminal.say(progress.summary())
    except KeyboardInterrupt:
        terminal.say("interrupted. The same command with --resume goes on behind what is done.")
        raise
    return Checked(sets, contents, examined, same, rows)


def _chosen(of: Mapping[tuple[int, int], Numbers], rows: list[Numbers]) -> Numbers:
    found = [contents[rows[number]] for (number, _), contents in of.items()]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _find(
    config: Config, checked: Checked, processed: list[Processed], described: dict[str, dict[str, dict[str, Any]]]
) -> list[Finding]:
    """Return all findings in order of harm, and of those the ones that concern most."""
    findings = [
        *find_bad_inputs(checked),
        *find_leaks(checked),
        *find_relations(checked),
        *find_false_negatives(config, checked),
        *find_refused_inputs(checked, processed),
        *find_truncated(checked, processed),
        *find_unusable_labels(checked),
        *find_skewed_labels(described),
    ]
    kinds = list(KINDS)
    return sorted(findings, key=lambda one: (one.harm, kinds.index(one.kind), -one.count / max(1, one.of)))


def _clean(config: Config, checked: Checked, findings: list[Finding], options: CheckOptions) -> Cleaned | None:
    if options.write_clean is None:
        return None
    name = choose_dataset(config, options.dataset)
    return write_clean(config, checked, findings, name, options.drop, options.write_clean)


def _failures(findings: list[Finding], fail_on: tuple[str, ...] | None) -> list[str]:
    """Return the kinds that were found and count as a failure."""
    kinds = {kind for kind, harm in KINDS.items() if harm is Harm.serious} if fail_on is None else set(fail_on)
    return list(dict.fromkeys(one.kind for one in findings if one.kind in kinds))
