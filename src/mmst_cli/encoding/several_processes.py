"""Encoding in several processes: the first reads what there is and writes all parts, the others encode their share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmst_cli import ending_together, processes
from mmst_cli.config.schema import ModelConfig
from mmst_cli.encoding.encoder import load_encoder
from mmst_cli.encoding.job import EncodeJob
from mmst_cli.encoding.summary import EncodeResult
from mmst_cli.model.precision import Runtime
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.vectors.ranges import Ranges
from mmst_cli.vectors.shared_encoding import serve_in, shared_encoding


def join(runtime: Runtime) -> Runtime:
    """Meet the other processes of the command, and return the runtime with the device of this one."""
    if processes.count() == 1:
        return runtime
    from accelerate import PartialState

    ending_together.watch()
    return replace(runtime, device=PartialState(cpu=runtime.device.type == "cpu").device)


def serve(job: EncodeJob, config: ModelConfig, runtime: Runtime, ranges: Ranges | None, output: Path) -> EncodeResult:
    """Encode what the first process gives to this one, until that is done.

    Args:
        job: what is asked for, without its inputs.
        config: the model.
        runtime: of this process.
        ranges: as :func:`load_encoder` takes them.
        output: the folder, which the first process writes.
    """
    quiet_libraries(Terminal())
    with processes.first_before_others():  # it may fill caches
        encoder = load_encoder(job, config, runtime, [], ranges)
    serve_in(encoder.model, runtime.precision)
    with shared_encoding(encoder.model):
        pass
    ending_together.leave()
    return EncodeResult(output, 0, 0, encoder.dimension, 0, 0.0)
