"""What a tracker needs beside transformers' callback: to go on in the same run, keep a file, and end as the run did."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from transformers import TrainerCallback, TrainingArguments

from mmst_cli.runs import RunFolder

SUCCEEDED, FAILED, STOPPED = 0, 1, 130
"""How a run ends, as exit codes."""
Known = Mapping[str, str]
"""What names a tracker's run, so that ``--resume`` finds it again."""


class Tracker:
    """A tracker, told by transformers' callback for it. This one goes on in no run and keeps no file.

    Args:
        name: as ``report_to`` has it.
        callback: the callback, which is told when it begins, logs and ends by this class alone.
        run: the run.
    """

    def __init__(self, name: str, callback: TrainerCallback, run: RunFolder) -> None:
        self.name, self.callback, self.run = name, callback, run

    @contextmanager
    def beginning(self, args: TrainingArguments, known: Known, step: int) -> Iterator[bool]:
        """Have the callback begin a run inside of the context, or go on with one; yields whether it goes on.

        Args:
            args: of the trainer.
            known: what :meth:`known` returned of the run that was begun; nothing if none was.
            step: the step that the run goes on from.
        """
        yield False

    def known(self) -> Known:
        """Return what names the run that was begun; nothing where none can be gone on with."""
        return {}

    def where(self) -> str:
        """Return where its figures are."""
        return ""

    def keep(self, report: Path) -> None:
        """Keep a file with the run."""

    def end(self, code: int) -> None:
        """End as the run did; the callback, which knows of runs that succeed alone, was told of such a one."""


class TensorBoard(Tracker):
    """Files of events in the run folder, or in TENSORBOARD_LOGGING_DIR."""

    @property
    def folder(self) -> str:
        """Where the events are."""
        return str(self.callback.logging_dir or self.run.events)

    @contextmanager
    def beginning(self, args: TrainingArguments, known: Known, step: int) -> Iterator[bool]:
        """Write into the same folder; events after ``step``, which the run takes again, are shown no more."""
        goes_on = known == self.known()
        self.callback.logging_dir = self.folder
        if goes_on:
            self.callback.tb_writer = self.callback._SummaryWriter(log_dir=self.folder, purge_step=step + 1)
        yield goes_on

    def known(self) -> Known:
        """Return the folder, unless it is the run's own."""
        return {"folder": "" if self.folder == str(self.run.events) else self.folder}

    def where(self) -> str:
        """Return the folder."""
        return self.folder

    def end(self, code: int) -> None:
        """Write what is left."""
        if self.callback.tb_writer is not None:
            self.callback.tb_writer.close()


class WandB(Tracker):
    """A run of Weights & Biases; one that was begun outside of this package is used and not ended."""

    @contextmanager
    def beginning(self, args: TrainingArguments, known: Known, step: int) -> Iterator[bool]:
        """Go on by the run's id, which a later `wandb sync` of what was written offline puts together as well."""
        self.wandb = self.callback._wandb
        self.ours = self.wandb.run is None
        goes_on = self.ours and bool(known) and known["project"] == os.environ.get("WANDB_PROJECT")
        if goes_on:  # the callback takes the run that is there
            self.wandb.init(project=known["project"], name=args.run_name, id=known["id"], resume="allow")
        yield goes_on

    def known(self) -> Known:
        """Return id and project."""
        return {"id": self.wandb.run.id, "project": self.wandb.run.project}

    def where(self) -> str:
        """Return the address, or the folder of a run that is written offline."""
        return str(Path(self.wandb.run.dir).parent if self.wandb.run.offline else self.wandb.run.url)

    def keep(self, report: Path) -> None:
        """Keep it as an artefact of the type `report`."""
        artifact = self.wandb.Artifact(f"report-{self.wandb.run.id}", type="report")
        artifact.add_file(str(report), name=report.name)
        self.wandb.run.log_artifact(artifact)

    def end(self, code: int) -> None:
        """Write all that is left; the callback would leave that to the end of the process."""
        if self.ours and self.wandb.run is not None:
            self.wandb.finish(exit_code=code)


class MLflow(Tracker):
    """A run of MLflow, wherever MLFLOW_TRACKING_URI says; one that was begun outside is used and not ended."""

    @contextmanager
    def beginning(self, args: TrainingArguments, known: Known, step: int) -> Iterator[bool]:
        """Go on by the run's id, where the store of then still has it; its parameters stay what they are there."""
        self.mlflow = self.callback._ml_flow
        goes_on = (
            bool(known)
            and known["store"] == self.mlflow.get_tracking_uri()
            and os.environ.get("MLFLOW_RUN_ID", known["id"]) == known["id"]
            and self._has(known["id"])
        )
        # A parameter that has another value now would be refused, and all with it.
        with _environment({"MLFLOW_RUN_ID": known["id"], "MLFLOW_MAX_LOG_PARAMS": "0"} if goes_on else {}):
            yield goes_on

    def _has(self, run: str) -> bool:
        """Whether the store has a run, and nobody deleted it."""
        try:
            return bool(self.mlflow.get_run(run).info.lifecycle_stage == "active")
        except self.mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def known(self) -> Known:
        """Return id and store."""
        return {"id": self.mlflow.active_run().info.run_id, "store": self.mlflow.get_tracking_uri()}

    def where(self) -> str:
        """Return the run's id and its store."""
        return "run {id} in {store}".format(**self.known())

    def keep(self, report: Path) -> None:
        """Keep it as an artefact."""
        self.mlflow.log_artifact(str(report))

    def end(self, code: int) -> None:
        """Write all that is left, and mark a run that didn't succeed: by itself every run is marked as finished."""
        self.mlflow.flush_async_logging()
        if code and self.callback._auto_end_run:
            self.mlflow.end_run("KILLED" if code == STOPPED else "FAILED")
        self.callback._auto_end_run = False  # it would end whichever run is there when it is collected


class Trackio(Tracker):
    """A run of Trackio, on this machine or in a Space."""

    @contextmanager
    def beginning(self, args: TrainingArguments, known: Known, step: int) -> Iterator[bool]:
        """Give a new run a name that no other has: the callback goes on in any that is called so, whoever began it."""
        self.project, named = args.project, args.run_name
        goes_on = bool(known) and known["project"] == self.project
        self.named = args.run_name = known["name"] if goes_on else f"{named}-{datetime.now():%Y%m%d-%H%M%S}"
        try:
            yield goes_on
        finally:
            args.run_name = named

    def known(self) -> Known:
        """Return name and project."""
        return {"name": self.named, "project": self.project}

    def where(self) -> str:
        """Return the run's name and its project."""
        return "run {name} in project {project}".format(**self.known())

    def keep(self, report: Path) -> None:
        """Keep it as an artefact of the type `report`."""
        artifact = self.callback._trackio.Artifact(f"report-{self.named}".replace(" ", "-"), type="report")
        artifact.add_file(report)
        self.callback._trackio.log_artifact(artifact)

    def end(self, code: int) -> None:
        """Write what is left of a run that didn't succeed."""
        if code and self.callback._initialized:
            self.callback._trackio.finish()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for as long as the context lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
