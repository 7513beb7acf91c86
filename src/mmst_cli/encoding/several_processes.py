"""Encoding in several processes: the first reads what there is and writes all parts, the others encode their share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mmst_cli import ending_together, processes
from mmst_cli.encoding.encoder import Encoder
from mmst_cli.encoding.summary import EncodeResult
from mmst_cli.model.precision import Runtime
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.vectors.shared_encoding import shared_encoding


def join(runtime: Runtime) -> Runtime:
    """Meet the other processes of the command, and return the runtime with the device of this one."""
    if processes.count() == 1:
        return runtime
    from accelerate import PartialState

    ending_together.watch()
    return replace(runtime, device=PartialState(cpu=runtime.device.type == "cpu").device)


def serve(load: Callable[[], Encoder], output: Path) -> EncodeResult:
    """Encode what the first process gives to this one, until that is done.

    Args:
        load: loads the model, of which this process has no inputs.
        output: the folder, which the first process writes.
    """
    quiet_libraries(Terminal())
    encoder = load()
    with shared_encoding(encoder.model):
        pass
    ending_together.leave()
    return EncodeResult(output, 0, 0, encoder.dimension, 0, 0.0)
