"""`mmst mine`: rows in, the same rows with hard negatives out, ready to train on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import Config, DatasetConfig, MineConfig, ModelConfig, Role
from mmst_cli.errors import WorkError
from mmst_cli.mining.contact_sheet import write_sheet
from mmst_cli.mining.mined_columns import new_columns
from mmst_cli.mining.mined_output import Output
from mmst_cli.mining.mining_job import MiningOptions, describe_job, mining_model, models_identity
from mmst_cli.mining.mining_summary import MiningFacts, MiningResult, facts_of, nothing_kept, say_result
from mmst_cli.mining.negative_search import Search, mine_rows
from mmst_cli.mining.output_places import Places, begin_work, check_output, take_up
from mmst_cli.mining.rows_written import claimed_output, told_how_to_go_on
from mmst_cli.mining.second_model import check_second, load_second
from mmst_cli.model.load_model import check_loadable, model_label
from mmst_cli.model.precision import choose_runtime
from mmst_cli.model.precision_of_run import as_recorded
from mmst_cli.model.prompts import prompts_by_task
from mmst_cli.preparing.image_preparation import prepare_images
from mmst_cli.preparing.prepared_model import prepare_model, with_own_reader
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.row_keys import rows_identity
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.sources.tables import load_rows
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.vectors.data_workers import workers_of
from mmst_cli.vectors.nearest import check_index

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

NextStep = Callable[[DatasetConfig, Any], str]
"""Given the dataset and the new columns, says how to train on the output."""


def run_mining(
    config: Config, options: MiningOptions, terminal: Terminal, next_step: NextStep | None = None
) -> MiningResult:
    """Mine hard negatives for a training set and write them beside its rows.

    Args:
        config: what holds the set, the model, and how media are read.
        options: what is asked for.
        terminal: where to show progress and the outcome.
        next_step: says how to train on what was written.

    Raises:
        MmstError: a mistake in options, data or model; nothing was written.
        WorkError: an input can't be read; what was done so far is kept for --resume.
    """
    config = as_recorded(config, terminal, options.mine.model)
    places = Places(options.output)
    with claimed_output(places.output):
        return _run(config, options, places, terminal, next_step)


def _run(
    config: Config, options: MiningOptions, places: Places, terminal: Terminal, next_step: NextStep | None
) -> MiningResult:
    started, section = time.monotonic(), config.datasets[options.dataset]
    check_output(places, section, resume=options.resume, overwrite=options.overwrite)
    check_index(str(options.mine.index))
    runtime = choose_runtime(config.training)
    model_config = mining_model(config, options.mine)
    check_loadable(model_config, runtime.device, runtime.precision)
    quiet_libraries(terminal)
    bad_rows = BadRows.of({options.dataset: section}, terminal)
    rows = prepare_rows(options.dataset, section, options.seed, config.media, bad_rows, drop=True)
    source = load_rows(options.dataset, section.model_copy(update={"max_rows": None}), options.seed)
    added = new_columns(source.column_names, rows.with_role(Role.positive)[0], options.mine.num_negatives)
    sentence = next_step(section, added) if next_step else ""
    job = describe_job(
        config, section, options, rows_identity(rows), models_identity(config, options.mine, options.seed)
    )
    known = take_up(places, job, resume=options.resume, overwrite=options.overwrite)
    if known is None:
        search = open_search(config, options.mine, model_config, rows, places.work, options.seed, terminal)
        search = replace(search, rows_per_part=options.rows_per_part)
        begin_work(places, job, overwrite=options.overwrite)
        with told_how_to_go_on(options.mine.batch_size, terminal):
            facts = _mine(search, source, places, job, options, terminal)
    else:
        facts = MiningFacts(**known)
        terminal.say(f"{options.output} is finished already: nothing is left to do.")
    result = MiningResult(options.output, facts, time.monotonic() - started, sentence, places.sheet)
    say_result(result, options.mine, terminal)
    return result


def _mine(
    search: Search, source: Any, places: Places, job: dict[str, Any], options: MiningOptions, terminal: Terminal
) -> MiningFacts:
    """Mine, and write sheet and file, the file last."""
    found = mine_rows(search, terminal)
    facts = facts_of(found, search.rows)
    if not facts.kept:
        shutil.rmtree(places.work)
        raise WorkError(f"nothing was written: {nothing_kept(facts, options.mine)}")
    output = Output(source, search.rows, found, places, embed=options.embed_media)
    with terminal.waiting("writing"):
        write_sheet(
            places.sheet,
            search.rows,
            found,
            facts,
            options.mine,
            title=f"Hard negatives for {options.dataset}",
            model=search.label,
            seed=options.seed,
        )
        output.write(job, asdict(facts))
    shutil.rmtree(places.work)
    return facts


def open_search(
    config: Config,
    mine: MineConfig,
    model_config: ModelConfig,
    rows: RowSet,
    folder: Path,
    seed: int,
    terminal: Terminal,
    model: SentenceTransformer | None = None,
    label: str | None = None,
) -> Search:
    """Load the models and check that they take the rows.

    Args:
        config: media, prompts and precision.
        mine: the settings.
        model_config: the model that mines.
        rows: what to mine in.
        folder: where to work.
        seed: of random sampling, and of weights that no checkpoint has.
        terminal: where to say what was chosen.
        model: that model, if it is loaded already.
        label: what it is called; its name if left out.

    Raises:
        ModelError: a model can't be loaded, or doesn't take the rows.
    """
    runtime = choose_runtime(config.training)
    columns = rows.with_role(Role.anchor, Role.positive)
    if model is None:
        rows = with_own_reader(rows)
        asked = {rows.key: replace(rows, columns=tuple(columns))}
        model = prepare_model(model_config, runtime, asked, prompts=config.prompts, seed=seed).model
        prepare_images(config, asked, model, terminal)
    second = None
    if mine.second_model is not None:
        second = load_second(ModelConfig(name_or_path=mine.second_model), runtime.device, runtime.precision)
        check_second(second, rows.key, *columns)
    label = label or model_label(model_config)
    checked = f", checked by {mine.second_model}" if second else ""
    each = "a negative" if mine.num_negatives == 1 else f"{mine.num_negatives} negatives"
    terminal.say(f"mining {each} for each of {len(rows):,} rows of {rows.key} with {label} on {model.device}{checked}")
    workers = workers_of(config.training)
    prompts = prompts_by_task(config, rows)
    return Search(
        rows, model, mine, folder, runtime.precision, seed, second, label=label, workers=workers, prompts=prompts
    )
