"""What a training run shows and writes down while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from mmst_cli.runs import RunFolder
from mmst_cli.terminal import Progress, Terminal
from mmst_cli.time_shares import in_shares
from mmst_cli.training.loss import MatryoshkaMeter
from mmst_cli.training.masked_ranking import MaskMeter

if TYPE_CHECKING:
    from mmst_cli.training.trainer import RunTrainer

_NOT_LOGGED = ("total_flos",)
MASKED = "masked_negatives"
"""In metrics.jsonl: the share of a step's negatives from other rows that was left out of its loss."""


class RunReporter(TrainerCallback):  # type: ignore[misc]
    """Moves a bar on a terminal, prints plain lines elsewhere, and writes metrics.jsonl either way."""

    def __init__(
        self, run: RunFolder, terminal: Terminal, meter: MatryoshkaMeter, masks: MaskMeter, primary: list[str]
    ) -> None:
        self.run, self.terminal, self.meter, self.masks, self.primary = run, terminal, meter, masks, primary
        self.trainer: RunTrainer
        self.best_so_far: str | None = None
        """Of a resumed run, the checkpoint that was measured best; the trainer's own record may name another folder."""
        self.line: dict[str, Any] = {}
        """What metrics.jsonl got of the log that was last; nothing where it got nothing."""
        self.progress: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock, and the bar where somebody watches."""
        self.batches = args.gradient_accumulation_steps
        self.logged_at, self.logged_step = time.perf_counter(), state.global_step
        self.trainer.account.take()
        self.trainer.rows_seen = self.trainer.tokens = 0
        state.best_model_checkpoint = self.best_so_far or state.best_model_checkpoint
        if self.terminal.is_interactive and not args.disable_tqdm:
            progress = self.terminal.progress("training", state.max_steps, done=state.global_step, unit="steps")
            self.progress = progress.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar."""
        if self.progress:
            self.progress.advance(state.global_step - self.progress.done)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Write a line of metrics, and show it."""
        self.line = {}
        if not logs or "loss" not in logs:
            return
        steps, now = state.global_step - self.logged_step, time.perf_counter()
        seconds = now - self.logged_at
        per_second = steps / seconds
        per_dim, masked = self.meter.read(), self.masks.read()
        record = {
            "step": state.global_step,
            "epoch": state.epoch,
            **{key: value for key, value in logs.items() if key not in (*_NOT_LOGGED, "epoch")},
            "loss_per_dim": {str(dim): loss for dim, loss in per_dim.items()},
            **({} if masked is None else {MASKED: masked}),
            "samples_per_second": self.trainer.rows_seen * args.world_size / seconds,
            "tokens_per_second": self.trainer.tokens * args.world_size / seconds or None,
            "flops_utilisation": self.trainer.flops.utilisation(per_second * self.batches),
            "seconds": self.trainer.account.take(),
        }
        self.run.log_metrics(record)
        self.line = record
        self._show(state, record, per_dim, seconds / max(1, steps))
        self.logged_at, self.logged_step = now, state.global_step
        self.trainer.rows_seen = self.trainer.tokens = 0

    def _show(self, state: Any, record: dict[str, Any], per_dim: dict[int, float], per_step: float) -> None:
        speed = f"{record['samples_per_second']:.0f} samples/s"
        tokens, used = record["tokens_per_second"], record["flops_utilisation"]
        rates = speed + (f", {tokens:,.0f} tokens/s" if tokens else "") + (f", MFU {used:.0%}" if used else "")
        dims = ", ".join(f"{dim}: {loss:.3f}" for dim, loss in per_dim.items())
        line = f"step {state.global_step}/{state.max_steps}  loss {record['loss']:.4f}"
        line += f" ({dims})" if dims else ""
        line += f"  {record[MASKED]:.2%} of in-batch negatives masked" if MASKED in record else ""
        left = _clock((state.max_steps - state.global_step) * per_step)
        whole = f"{line}  {rates}  {left} left  ({in_shares(record['seconds'])})"
        if self.progress:
            ends = f" ({_ends(per_dim)})" if per_dim else ""
            self.progress.advance(0, note=f"loss {record['loss']:.3f}{ends}  {speed}")
            self.terminal.record(whole)
        else:
            self.terminal.say(whole)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **_: Any) -> None:
        """Write the scores down and show the primary ones. Evaluation counts to no step's speed."""
        self.run.log_metrics({"step": state.global_step, "epoch": state.epoch, **metrics})
        scores = [f"{key} {metrics[f'eval_{key}']:.4f}" for key in self.primary if f"eval_{key}" in metrics]
        if "eval_loss" in metrics:
            scores.append(f"loss {metrics['eval_loss']:.4f}")
        took = f"{metrics.get('eval_runtime', 0):.1f} s"
        self.terminal.say(f"step {state.global_step}/{state.max_steps}  evaluation: {', '.join(scores)} ({took})")
        self.logged_at += metrics.get("eval_runtime", 0.0)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the bar away, and write down where the time went since the last line."""
        self.close()
        rest = self.trainer.account.take()
        self.run.log_metrics({"step": state.global_step, "epoch": state.epoch, "seconds": rest})

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Take the bar away for as long as something else is shown, whose time counts to no step's speed."""
        begun, shown = time.perf_counter(), self.progress
        self.close()
        try:
            yield
        finally:
            self.logged_at += time.perf_counter() - begun
            if shown is not None:
                progress = self.terminal.progress("training", shown.total, done=shown.done, unit="steps")
                self.progress = progress.start()

    def close(self) -> None:
        """Take the bar away, also after an interruption."""
        if self.progress:
            self.progress.close()
            self.progress = None


def _ends(per_dim: dict[int, float]) -> str:
    """Show the largest and the smallest dimension; the log has all of them."""
    dims = list(per_dim)
    shown = dims if len(dims) < 3 else [dims[0], dims[-1]]
    return ", ".join(f"{dim}: {per_dim[dim]:.2f}" for dim in shown)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
