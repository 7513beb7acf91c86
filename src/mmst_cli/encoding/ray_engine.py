"""Encoding as a Ray Data pipeline: inputs walked through, prepared on CPUs, embedded by actors, written here."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy, read_datasource

from mmst_cli.config.schema import Dtype, Modality, ModelConfig
from mmst_cli.encoding.encoder import Encoder
from mmst_cli.encoding.job import EncodeJob
from mmst_cli.encoding.ray_blocks import readers_of, unpack
from mmst_cli.encoding.ray_cluster import RESTARTS, RETRIES, Shares, joined, told_of_ray
from mmst_cli.encoding.ray_embed import Embed, EmbeddedBlock, Loading, Scout, Seen
from mmst_cli.encoding.ray_place import Place, find_remote_code
from mmst_cli.encoding.ray_prepare import Plan, prepare_block
from mmst_cli.encoding.ray_walk import Walk, WalkedInputs
from mmst_cli.encoding.shards import PartRecord
from mmst_cli.errors import MmstError, WorkError
from mmst_cli.inputs.items import Item, Source
from mmst_cli.inputs.opening import Opening
from mmst_cli.model.precision import Runtime
from mmst_cli.processes import processors
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.vectors.found_sizes import BatchLimits
from mmst_cli.vectors.ranges import Ranges
from mmst_cli.vectors.windows import Encoded, Window

Found = TypeVar("Found")


class RayEngine:
    """Encodes on the workers of a Ray cluster; what is read, encoded and written is what one process would.

    Args:
        opening: the inputs, for the workers to open.
        num_processes: actors with a model; see :func:`joined`.
        workers: batches that are prepared at a time elsewhere; with 0 each actor prepares its own. If left out, as
            many as there is room for, and none where all inputs are texts, which cost next to nothing.
        terminal: where to say what is said in workers.
    """

    def __init__(self, opening: Opening, num_processes: int | None, workers: int | None, terminal: Terminal) -> None:
        self._opening, self._workers, self._terminal = opening, workers, terminal
        self._num_processes = num_processes
        self._stack = ExitStack()
        self._said: set[str] = set()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._shares = stack.enter_context(joined(self._num_processes))
            stack.enter_context(told_of_ray())
            self._terminal.say(self._shares.in_words())
            self._place = Place(self._opening.folder, self._shares.cpus or None)
            actor = ray.remote(Scout).options(**_of_models(self._shares))
            self._scout = Scout(self._place) if self._shares.here else actor.remote(self._place)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def runtime(self, model: str, dtype: Dtype, _terminal: Terminal) -> tuple[Runtime, Dtype]:
        """Return where and in which precision a model encodes on a worker, and what its weights are held in."""
        runtime, dtype, said = self._ask(self._scout.runtime, model, dtype)
        self._say(said)
        return _or_raise(runtime), dtype

    def load(
        self, job: EncodeJob, config: ModelConfig, runtime: Runtime, sources: list[Source], ranges: Ranges | None
    ) -> Encoder:
        """Have a worker load the model and check that it can do the job; return what is seen of it, without weights."""
        find_remote_code()
        unread = [replace(source, items=partial(iter, ())) for source in sources]
        place = self._place
        if self._shares.here and not self._shared_out(sources):  # the models have this machine to themselves
            place = replace(place, threads=max(1, processors() // self._shares.actors))
        self._loading = Loading(job, config, runtime, unread, ranges, place)
        seen, said = self._ask(self._scout.load, self._loading)
        self._say(said)
        self._seen: Seen = _or_raise(seen)
        if not self._shares.here:
            ray.kill(self._scout)  # it holds a model
        encoder: Encoder = self._seen.encoder
        return encoder

    def _ask(self, look: Any, *arguments: Any) -> Any:
        """Return what the scout finds: in an actor or, where that would only begin one more process, in this one."""
        if not self._shares.here:
            return ray.get(look.remote(*arguments))
        found = ray.get(ray.put(look(*arguments)))  # without weights, as from an actor
        quiet_libraries(self._terminal)  # the scout had their warnings
        return found

    def limits(self) -> BatchLimits:
        """Return nothing: workers are told how many inputs go into a batch."""
        return {}

    def encode(
        self, encoder: Encoder, items: Iterator[Item], kept: Sequence[PartRecord], _left: int | None
    ) -> Generator[Encoded]:
        """Yield what becomes of the inputs, part by part; workers walk through them.

        Args:
            encoder: what :meth:`load` returned.
            items: the inputs, of which it only matters whether there are any.
            kept: the records of the parts before them.

        Raises:
            MmstError: a worker can't go on.
        """
        if next(items, None) is None:
            return
        walk = Walk(
            self._opening,
            done=sum(record.items for record in kept),
            rows_per_part=encoder.job.rows_per_part,
            batch_size=int(encoder.job.batch_size),  # a number, or the command would have been refused
            options=self._seen.options,
            mix=self._seen.mix,
        )
        window = Window()
        blocks = self._pipeline(walk).iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        for expected, block in enumerate(blocks):
            number, content = unpack(block)
            if number != expected:
                raise RuntimeError(f"block {number} came in the place of block {expected}")
            for batch, pieces in self._heard(_or_raise(content)).batches:
                window.take(batch, pieces)
                if batch.ends_window:
                    yield window.close()
                    window = Window()

    def _pipeline(self, walk: Walk) -> Dataset:
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        with DataContext.current(_context()):
            rows = read_datasource(WalkedInputs(walk), num_cpus=0, label_selector=here, override_num_blocks=1)
            plain = {"batch_size": 1, "batch_format": "pyarrow"}  # a row is a block
            if self._seen.anywhere and self._shared_out(self._seen.sources):
                plan = ray.put(Plan(self._seen.prepare, readers_of(self._seen.sources), self._place))
                compute = TaskPoolStrategy(self._workers)
                prepare = partial(prepare_block, plan=plan)
                rows = rows.map_batches(prepare, compute=compute, num_cpus=1, max_retries=RETRIES, **plain)
            return rows.map_batches(
                Embed,
                fn_constructor_args=(self._loading,),
                compute=ActorPoolStrategy(size=self._shares.actors),
                **_of_models(self._shares),
                max_restarts=RESTARTS,
                max_task_retries=RETRIES,
                **plain,
            )

    def _shared_out(self, sources: list[Source]) -> bool:
        """Whether inputs are to be prepared outside of the actors, if the model lets them."""
        if self._workers is None:
            return any(kind != (Modality.text,) for one in sources for kind in one.kinds)
        return self._workers != 0

    def _heard(self, block: EmbeddedBlock) -> EmbeddedBlock:
        self._say(block.said)
        for path in block.missing:
            if Path(path).exists():
                raise WorkError(
                    f"{path}: it is on this machine, but not on another node of the cluster, which was to read it. Put"
                    " the inputs where all nodes see them under the same name: shared storage, or s3://."
                )
        return block

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            if line not in self._said:
                self._said.add(line)
                self._terminal.say(line, style="yellow" if line.startswith("warning: ") else None)


def _or_raise(found: Found | MmstError) -> Found:
    if isinstance(found, MmstError):
        raise found
    return found


def _of_models(shares: Shares) -> dict[str, Any]:
    return {"num_cpus": shares.cpus, "num_gpus": 1 if shares.on_gpu else 0}


def _context() -> DataContext:
    """Return how Ray Data works here: blocks as they are cut, in their order, and nothing on the terminal."""
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1  # bytes: a block goes on as soon as it is there
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    context.max_consecutive_actor_init_deaths = RETRIES
    logger = logging.getLogger("ray.data")
    logger.setLevel(logging.INFO)
    logger.handlers = [handler for handler in logger.handlers if handler.name != "console"]  # the file has it all
    return context
