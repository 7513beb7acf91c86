"""Training sets whose negatives are mined again at the beginning of epochs, by the model as trained so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from mmst_cli import processes
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, RunError
from mmst_cli.mining.mined_sets import MinedSet
from mmst_cli.mining.mining_rounds import load_round, mine_round, save_round
from mmst_cli.model.random_state import randomness_kept
from mmst_cli.rows.columns import RowSet
from mmst_cli.runs import RunFolder
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.shared_encoding import shared_encoding

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class RenewedNegatives:
    """Brings sets to the negatives of an epoch: mined at its beginning, or read from the file of that round.

    Args:
        config: the whole config.
        run: where the file of each round is kept, for a run that is resumed.
        model: the model that is trained.
        mined: dataset to the negatives that it begins with.
        put: takes the sets that changed, and returns their rows as they are trained on.
        terminal: where to show progress and the outcome.
    """

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        model: SentenceTransformer,
        mined: Mapping[str, MinedSet],
        put: Callable[[Mapping[str, MinedSet]], dict[str, RowSet]],
        terminal: Terminal,
    ) -> None:
        self.config, self.run, self.model, self.put, self.terminal = config, run, model, put, terminal
        used = {key: config.datasets[key].mine for key, one in mined.items() if one.is_used}
        self.every = {key: mine.every_epochs for key, mine in used.items() if mine and mine.every_epochs is not None}
        self.sets = {key: mined[key] for key in self.every}
        self.done = dict.fromkeys(self.every, 0)
        """The epoch, from 0, whose negatives each set has."""
        self.apart: Callable[[], AbstractContextManager[object]] = nullcontext
        """Gives a context in which time is no time of training, and its progress isn't shown."""

    def check(self, epochs: int) -> None:
        """Check that negatives are renewed at all.

        Args:
            epochs: how many the run begins.

        Raises:
            ConfigError: they aren't.
        """
        if faults := [
            f"datasets.{key}.mine.every_epochs: found {every}, but with training.max_steps={steps} the run"
            f" {'ends in its first epoch' if epochs == 1 else f'begins {epochs} epochs'}: negatives are never renewed."
            " Raise training.max_steps, or leave it out."
            for key, every in self.every.items()
            if epochs <= every and (steps := self.config.training.get("max_steps"))
        ]:
            raise ConfigError(*faults)

    def bring_to(self, epoch: int, step: int, *, begun: bool, check: Callable[[], None]) -> dict[str, RowSet]:
        """Return the rows of the sets that have other negatives in an epoch than until now.

        Args:
            epoch: which one, from 0.
            step: how many steps were taken.
            begun: whether some of them were steps of that epoch.
            check: raises where the model is not worth mining with.

        Raises:
            RunError: the negatives of an epoch that is gone on with are not there any more.
            WorkError: an input can't be read, or has no finite vector or score.
        """
        changed = {}
        for key, every in self.every.items():
            for due in range(self.done[key] + every, epoch + 1, every):
                path = self.run.round_of(key, due)
                if processes.share(path is not None):
                    self.sets[key] = load_round(self.run.round_of(key, due), self.sets[key])  # type: ignore[arg-type]
                elif due == epoch and not begun:
                    check()
                    self._mine(key, epoch, step)
                else:
                    raise RunError(
                        f"--resume: the negatives that datasets.{key} had from epoch {due + 1} on are not in"
                        f" {self.run.negatives}. Bring the file back, or begin anew by --overwrite."
                    )
                self.done[key], changed[key] = due, self.sets[key]
        return self.put(changed) if changed else {}

    def read_back(self) -> None:
        """Take the negatives of the last epoch, of a run that had taken all its steps before it was resumed."""
        for key, every in self.every.items():
            while path := self.run.round_of(key, self.done[key] + every):
                self.sets[key] = load_round(path, self.sets[key])
                self.done[key] += every
        self.put(self.sets)

    def _mine(self, key: str, epoch: int, step: int) -> None:
        """Mine in the first process, for which all encode a share, and read what it wrote in the others."""
        begun, path = time.monotonic(), self.run.new_round(key, epoch, step)
        with self.apart(), randomness_kept(), shared_encoding(self.model) as asks:
            if asks:
                work = path.with_name("work")
                found = mine_round(self.config, self.sets[key], self.model, epoch, work, self.terminal)
                save_round(path, found)
        processes.wait()
        self.sets[key] = load_round(path, self.sets[key])
        self._tell(key, step, time.monotonic() - begun)

    def _tell(self, key: str, step: int, seconds: float) -> None:
        last = self.sets[key].rounds[-1]
        rows = "1 row keeps its" if last.without == 1 else f"{last.without:,} rows keep their"
        kept = f"; {rows} own, for want of new ones" if last.without else ""
        self.terminal.say(
            f"negatives: {key}: renewed for epoch {last.epoch + 1} in {seconds:.1f} s: {last.changed:,} of"
            f" {last.used:,} changed ({last.share:.1%}){kept}"
        )
        told = {"dataset": key, "changed": last.changed, "negatives": last.used, "rows_without": last.without}
        self.run.log_metrics({"step": step, "epoch": float(last.epoch), "mined": {**told, "seconds": seconds}})
