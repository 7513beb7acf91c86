"""A run that ends before its time: what is said of it, and what becomes of the run that it was to replace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmst_cli import processes
from mmst_cli.aside import FAILED, is_aside
from mmst_cli.ending_together import last_work
from mmst_cli.errors import MmstError, WorkError
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import quoted
from mmst_cli.storage import disk_fault
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.data_workers import said_of_killed
from mmst_cli.whole_checkpoints import checkpoint_step

_FEWER = ": lower training.dataloader_num_workers, or 0 reads in the process that trains"


@contextmanager
def told_of_failures(run: RunFolder, terminal: Terminal) -> Iterator[None]:
    """Say in a sentence what ended a run from outside, and bring back the run that it was to replace.

    A new run takes the place of an old one with its first whole checkpoint, from which it can be resumed; what fails
    before, in whatever way, leaves the old run as it was. What is refused before anything was trained, such as a row
    of an evaluation, leaves nothing of the new one.

    Raises:
        WorkError: a disk or folder refused to be written, or the system killed a worker.
    """
    try:
        yield
    except BaseException as error:
        if not processes.is_first():
            raise
        replacing = is_aside(run.path)
        with last_work():
            _tidy(run, error, terminal)
        if isinstance(error, MmstError) or not isinstance(error, Exception):
            raise
        reason = disk_fault(error, run.path) or said_of_killed(error, "reads the data", _FEWER)
        if reason is None:
            raise
        raise WorkError(f"{reason}. {'' if replacing else way_on(run)}".strip()) from error


def _tidy(run: RunFolder, error: BaseException, terminal: Terminal) -> None:
    run.drop_broken_checkpoints()
    if isinstance(error, MmstError) and error.exit_code == MmstError.exit_code and not run.checkpoints():
        terminal.log_to(None)
        run.drop_written()
    if run.put_back():
        _say_put_back(run, terminal)


def _say_put_back(run: RunFolder, terminal: Terminal) -> None:
    said = f"The run that was in {run.path} is there again, as it was."
    if (failed := run.path / FAILED).is_dir():
        terminal.log_to(failed / run.log.name)  # the log in its place is the old run's again
        said += f" What the new one wrote is in {failed}."
    terminal.say(said)


def way_on(run: RunFolder) -> str:
    """Return the sentence that says how to go on with a run that was stopped."""
    config = quoted(run.config)
    if whole := run.checkpoints():
        return f"`mmst train {config} --resume` goes on from step {checkpoint_step(whole[-1])}."
    return f"No checkpoint was saved yet; `mmst train {config} --overwrite` starts again."
