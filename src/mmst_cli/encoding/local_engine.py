"""Encoding in this process, with others that prepare its inputs, and with those that a launcher started."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from mmst_cli import processes
from mmst_cli.config.schema import Dtype, ModelConfig
from mmst_cli.encoding.encoder import Encoder, load_encoder
from mmst_cli.encoding.job import EncodeJob
from mmst_cli.encoding.several_processes import join
from mmst_cli.encoding.shards import PartRecord
from mmst_cli.errors import WorkError
from mmst_cli.inputs.items import Item, Source, in_parts
from mmst_cli.model.load_model import find_model
from mmst_cli.model.precision import Runtime
from mmst_cli.model.precision_of_run import encoding_runtime
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.data_workers import Workers
from mmst_cli.vectors.fitting_batches import MemoryShortageError
from mmst_cli.vectors.forward_pass import how_to_encode
from mmst_cli.vectors.found_sizes import BatchLimits
from mmst_cli.vectors.input_stream import InputPipeline
from mmst_cli.vectors.ranges import Ranges
from mmst_cli.vectors.shared_encoding import serve_in, shared_encoding
from mmst_cli.vectors.windows import Encoded

_LESS_MEMORY = (
    "Lower what an input holds (--max-pixels and --max-frames of clips, --dpi of pages; of images the model's own"
    " processor decides), or free the device. --resume goes on behind the parts that are whole."
)


class LocalEngine:
    """Encodes on the device of this process.

    Args:
        workers: processes that prepare inputs; chosen by what preparing costs if left out.
        terminal: where to say which batch size was found.
    """

    def __init__(self, workers: int | None, terminal: Terminal) -> None:
        self._workers = None if workers is None else Workers(workers)
        self._terminal = terminal
        self._pipeline: InputPipeline | None = None

    def runtime(self, model: str, dtype: Dtype, terminal: Terminal) -> tuple[Runtime, Dtype]:
        """Return where and in which precision a model encodes here, and what its weights are held in."""
        runtime, dtype = encoding_runtime(find_model(model), dtype, terminal)
        return join(runtime), dtype

    def load(
        self, job: EncodeJob, config: ModelConfig, runtime: Runtime, sources: list[Source], ranges: Ranges | None
    ) -> Encoder:
        """Load the model; see :func:`load_encoder`."""
        with processes.first_before_others():
            encoder = load_encoder(job, config, runtime, sources, ranges)
        serve_in(encoder.model, runtime.precision)
        return encoder

    def limits(self) -> BatchLimits:
        """Return what was found of batch sizes so far."""
        return {} if self._pipeline is None else self._pipeline.limits

    def encode(
        self, encoder: Encoder, items: Iterator[Item], kept: Sequence[PartRecord], left: int | None
    ) -> Generator[Encoded]:
        """Yield what becomes of items, part by part.

        Args:
            encoder: what :meth:`load` returned.
            items: the inputs.
            kept: the records of the parts before them.
            left: how many they are, if that is known.

        Raises:
            WorkError: there is no room for a single input.
        """
        task, prompt_name = how_to_encode(encoder.job.prompt_name)
        limits, say = kept[-1].batch_limits if kept else None, self._say
        with told_of_memory(), shared_encoding(encoder.model), encoder.pipeline(self._workers, limits, say) as pipeline:
            self._pipeline = pipeline
            for part in in_parts(items, encoder.job.rows_per_part):
                for encoded in pipeline.encode(part, task=task, prompt_name=prompt_name, left=left):
                    yield encoded
                    left = None if left is None else left - len(encoded.references)

    def _say(self, found: str) -> None:
        self._terminal.say(f"--batch-size auto: {found}")


@contextmanager
def told_of_memory() -> Iterator[None]:
    """Say what to lower where there is no room for a single input.

    Raises:
        WorkError: there is none.
    """
    try:
        yield
    except MemoryShortageError as error:
        raise WorkError(f"{error}. {_LESS_MEMORY}") from error
