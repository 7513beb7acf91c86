"""The run folder: what is in it, and when it may be written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmst_cli import processes
from mmst_cli.aside import FAILED, MOVING, REPLACED, drop_aside, finish_moving, is_aside, put_back, set_aside
from mmst_cli.errors import RunError
from mmst_cli.output_claim import LOCK
from mmst_cli.run_environment import describe_environment, without_secret
from mmst_cli.shell_words import quoted
from mmst_cli.storage import append_line, read_json, write_json, write_text
from mmst_cli.whole_checkpoints import checkpoint_folders, checkpoint_step, is_whole

HALF_WRITTEN = ".*.partial"  # what a killed process left, by storage.py


@dataclass(frozen=True)
class RunFolder:
    """Paths in the folder of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config; its presence makes a folder a run."""
        return self.path / "config.yaml"

    @property
    def log(self) -> Path:
        """What the terminal said."""
        return self.path / "log.txt"

    @property
    def metrics(self) -> Path:
        """A line per log and per evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def skipped_rows(self) -> Path:
        """A line per broken row that was left out; not there if none was."""
        return self.path / "skipped_rows.jsonl"

    @property
    def dead_batch(self) -> Path:
        """A line per row of the batch that training ended at; not there if it went well."""
        return self.path / "dead_batch.jsonl"

    @property
    def model(self) -> Path:
        """The final model, an ordinary sentence-transformers folder."""
        return self.path / "model"

    @property
    def unchecked_model(self) -> Path:
        """The final model while it is compared with the one in memory."""
        return self.path / "model.unchecked"

    @property
    def failed_model(self) -> Path:
        """The final model if it isn't the one that was measured."""
        return self.path / "model.failed"

    @property
    def adapter(self) -> Path:
        """The adapter that was trained, where ``model`` has it merged; it needs the model that was begun with."""
        return self.path / "adapter"

    @property
    def unchecked_adapter(self) -> Path:
        """The adapter while it is compared with the one in memory."""
        return self.path / "adapter.unchecked"

    @property
    def failed_adapter(self) -> Path:
        """The adapter if it isn't the one that was trained."""
        return self.path / "adapter.failed"

    @property
    def gate(self) -> Path:
        """How the saved model compares with the measured one."""
        return self.path / "gate.json"

    @property
    def environment(self) -> Path:
        """Versions, devices and commit that the run was begun with."""
        return self.path / "environment.json"

    @property
    def rows(self) -> Path:
        """What names the rows of each dataset by content, so that a resumed run notices others."""
        return self.path / "rows.json"

    @property
    def events(self) -> Path:
        """What TensorBoard shows, where `training.report_to` names it."""
        return self.path / "runs"

    @property
    def trackers(self) -> Path:
        """What names the runs of trackers, so that a resumed run goes on in them."""
        return self.path / "trackers.json"

    @property
    def report(self) -> Path:
        """A page about the run."""
        return self.path / "report.html"

    @property
    def evaluations(self) -> Path:
        """Evaluation results, a JSON and a CSV file per evaluator."""
        return self.path / "eval"

    @property
    def negatives(self) -> Path:
        """The negatives that were mined while training, a file a set and epoch."""
        return self.path / "negatives"

    def new_round(self, dataset: str, epoch: int, step: int) -> Path:
        """Return where the negatives stand that a set has from an epoch on, mined when so many steps were taken."""
        return self.negatives / f"{dataset}.epoch-{epoch}.step-{step}.safetensors"

    def round_of(self, dataset: str, epoch: int) -> Path | None:
        """Return the file of the negatives that a set has from an epoch on, or None if there is none."""
        found = [path for path, name, at, _ in self._rounds() if (name, at) == (dataset, epoch)]
        return found[0] if found else None

    def forget_rounds_after(self, step: int) -> None:
        """Remove negatives that a killed process mined after the checkpoint it is resumed from."""
        for path, _, _, mined_at in self._rounds():
            if mined_at > step:
                path.unlink()

    def _rounds(self) -> list[tuple[Path, str, int, int]]:
        """Return path, dataset, epoch and step of each file of negatives."""
        there = sorted(self.negatives.glob("*.safetensors")) if self.negatives.is_dir() else []
        named = [(path, re.fullmatch(r"(.+)\.epoch-(\d+)\.step-(\d+)\.safetensors", path.name)) for path in there]
        return [(path, name[1], int(name[2]), int(name[3])) for path, name in named if name]

    def is_run(self) -> bool:
        """Whether a run was begun here."""
        return self.config.is_file()

    def way_to_model(self) -> str:
        """Return the sentence about a run without a model: what became of it, or how it gets one."""
        command = f"mmst train {quoted(self.config)}"
        if is_aside(self.path):
            return f"If its --overwrite was killed, `{command}` brings back the run that it was to replace."
        if self.failed_model.is_dir():
            return f"{self.failed_model} didn't pass the gate; {self.gate} says why."
        return f"Finish it with `{command} --resume`."

    def refuse_if_taken(self) -> None:
        """Raise RunError if anything is in the folder already."""
        if self.path.exists() and (not self.path.is_dir() or self._holds_anything()):
            what = "already holds a run" if self.is_run() else "already exists and is not empty"
            raise RunError(
                f"output_dir: {self.path} {what}. Go on with it by --resume, replace it by --overwrite, "
                "or choose another output_dir."
            )

    def write_record(
        self, config_yaml: str, overrides: Sequence[str], devices: Sequence[str], rows: Mapping[str, str]
    ) -> None:
        """Write how the run is made: config, overrides, what names the rows, versions, devices and commit."""
        self.write_settings(config_yaml, overrides, rows)
        write_json(self.environment, describe_environment(devices))

    def write_settings(self, config_yaml: str, overrides: Sequence[str], rows: Mapping[str, str]) -> None:
        """Write what the run is made with, or goes on with."""
        write_text(self.config, config_yaml)  # first: it makes the folder a run, which --overwrite may replace
        write_text(self.path / "overrides.txt", "".join(f"{without_secret(override)}\n" for override in overrides))
        write_json(self.rows, rows)

    def refuse_to_clear(self) -> None:
        """Raise RunError if something is there that is no run: --overwrite leaves it alone."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"output_dir: {self.path} is a file, so --overwrite leaves it alone.")
        if self.path.is_dir() and self._holds_anything() and not self.is_run():
            raise RunError(f"output_dir: {self.path} holds files but no run, so --overwrite leaves it alone.")

    def set_aside(self) -> bool:
        """Move everything a run writes out of the way, and nothing else, and say whether there was a run.

        It stands in ``.replaced`` until :meth:`drop_replaced`, or :meth:`put_back` where the new run came to nothing.

        Raises:
            RunError: the folder holds something, but no run.
        """
        self.refuse_to_clear()
        if self.is_run():
            set_aside(self.path, self._written())
        return is_aside(self.path)

    def put_back(self) -> bool:
        """Bring back the run that was set aside, unless the new one can be gone on with, and say whether it was.

        What the new run wrote is then in ``failed/``.
        """
        finish_moving(self.path)
        if not is_aside(self.path):
            return False
        if self.checkpoints() or self.model.is_dir():
            self.drop_replaced()
            return False
        put_back(self.path, self._written())
        return True

    def drop_written(self) -> None:
        """Remove all that a run wrote, but for what was set aside."""
        for path in self._written():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def drop_replaced(self) -> None:
        """Remove the run that was set aside: there is a checkpoint of the new one, or its model."""
        drop_aside(self.path)

    def _written(self) -> list[Path]:
        """Return all that a run wrote and that is there."""
        models = [self.model, self.unchecked_model, self.failed_model]
        models += [self.adapter, self.unchecked_adapter, self.failed_adapter]
        folders = (*checkpoint_folders(self.path), *models, self.negatives, self.evaluations, self.path / FAILED)
        record = (self.config, self.rows, self.environment, self.path / "overrides.txt")
        named = (*record, self.log, self.metrics, self.skipped_rows, self.report, self.gate, self.trackers)
        batches = self.path.glob(f"{self.dead_batch.stem}*{self.dead_batch.suffix}")  # one a process
        found = [*folders, *named, *batches, *self._trackers_folder(), *self.path.glob(HALF_WRITTEN)]
        return [path for path in found if path.exists()]

    def _trackers_folder(self) -> list[Path]:
        """Return where TensorBoard's files are, unless something else is in it."""
        folder = self.events
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        return [folder] if files and all(path.name.startswith("events.out.tfevents") for path in files) else []

    def _holds_anything(self) -> bool:
        return any(path.name != LOCK and not path.match(HALF_WRITTEN) for path in self.path.iterdir())

    def recorded_rows(self) -> dict[str, str]:
        """Return what named the rows of each dataset; nothing for a run of an earlier version."""
        return dict(read_json(self.rows))

    def recorded_processes(self) -> int | None:
        """Return how many processes the run was begun with; None where nothing says."""
        recorded = read_json(self.environment).get("processes")
        return recorded if isinstance(recorded, int) else None

    @processes.by_first
    def log_metrics(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        append_line(self.metrics, record)

    def metric_lines(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, but for one that a process was killed in; none if nothing was logged."""
        found = []
        if self.metrics.is_file():
            for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError):
                    found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    def forget_metrics_after(self, step: int) -> None:
        """Drop the lines that a killed process wrote after the checkpoint it is resumed from."""
        kept = [line for line in self.metric_lines() if "step" in line and line["step"] <= step]
        if self.metrics.is_file():
            write_text(self.metrics, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in kept))

    def checkpoints(self) -> list[Path]:
        """Return the whole checkpoints, oldest first."""
        return sorted(filter(is_whole, checkpoint_folders(self.path)), key=checkpoint_step)

    def drop_old_checkpoints(self, limit: int | None, best: str | None = None) -> None:
        """Remove the oldest checkpoints, so that no more than ``limit`` stay; the newest and the best always do.

        Args:
            limit: how many are kept; all of them if None or below 1.
            best: path of the best one, if one is to be kept as that.
        """
        whole = self.checkpoints()
        kept = {path.name for path in whole[-1:]} | ({Path(best).name} if best else set())
        if limit is None or limit < 1:
            return
        surplus = len(whole) - max(limit, len(kept))
        for path in [path for path in whole if path.name not in kept][: max(0, surplus)]:
            shutil.rmtree(path, ignore_errors=True)

    def drop_broken_checkpoints(self, after: int | None = None) -> list[Path]:
        """Remove checkpoints that a killed process left half written, and return them.

        Args:
            after: a step behind which none is any good.
        """
        found = checkpoint_folders(self.path)
        broken = [path for path in found if not is_whole(path) or (after is not None and checkpoint_step(path) > after)]
        for path in broken:
            shutil.rmtree(path)
        return broken


def run_of_model(model: str) -> RunFolder | None:
    """Return the run that a model folder is the final model of, or its adapter, or None if it is no run's."""
    run = RunFolder(Path(model).parent)
    return run if Path(model) in (run.model, run.adapter) and run.is_run() else None


def newest_run(root: Path = Path("runs")) -> RunFolder:
    """Return the run under ``root`` whose model was saved last.

    Raises:
        RunError: there is none.
    """
    models = [
        path
        for path in root.glob("**/model/modules.json")
        if (path.parent.parent / "config.yaml").is_file() and path.parent.parent.name not in (REPLACED, MOVING, FAILED)
    ]
    if not models:
        raise RunError(
            f"no finished run under {root}/. Train one with `mmst train CONFIG`, or name a run, a model or a config."
        )
    return RunFolder(max(models, key=lambda path: path.stat().st_mtime).parent.parent)
