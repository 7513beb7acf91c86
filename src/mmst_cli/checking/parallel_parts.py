"""Work cut into parts that several processes do, each kept in a file, so that a killed check goes on."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from mmst_cli.errors import WorkError
from mmst_cli.storage import whole_file
from mmst_cli.work import parquet_metadata, part_path

Task = Callable[[Any], pa.Table]

_task: Task | None = None


def do_parts(
    folder: Path, name: str, task: Task, parts: Sequence[Any], workers: int, done: Callable[[int], None]
) -> list[Path]:
    """Do every part that isn't there yet, and return the files of all of them in order.

    Args:
        folder: where the files are kept.
        name: what they are called, before their number.
        task: from a part to its table; runs in another process, and the same part must always give the same table.
        parts: what there is to do.
        workers: processes.
        done: told the number of each part that is there.

    Raises:
        WorkError: a process was killed.
    """
    paths = [part_path(folder, name, number) for number in range(len(parts))]
    waiting = []
    for number, path in enumerate(paths):
        if parquet_metadata(path) is None:
            waiting.append(number)
        else:
            done(number)
    if not waiting:
        return paths
    # Forked where that is safe, so that what was loaded is not loaded again by every worker.
    how = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(how)
    with ProcessPoolExecutor(min(workers, len(waiting)), context, _begin, (task,)) as pool:
        running = {pool.submit(_do, parts[number], paths[number]): number for number in waiting}
        try:
            for finished in as_completed(running):
                finished.result()
                done(running[finished])
        except BrokenProcessPool as error:
            raise WorkError(
                "a process was killed, probably for want of memory. Go on with --resume, with fewer --workers."
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return paths


def _begin(task: Task) -> None:
    global _task
    _task = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threadpool_limits(1)  # as many processes as processors: threads of their own would only wait for one another


def _do(part: Any, path: Path) -> None:
    assert _task is not None
    with whole_file(path) as partial:
        pq.write_table(_task(part), partial, compression="zstd")


def read_parts(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Yield the tables of parts, one at a time."""
    return (pq.read_table(path, memory_map=False) for path in paths)
