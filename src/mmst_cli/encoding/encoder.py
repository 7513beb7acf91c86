"""A loaded model that encodes a stream of items into parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.aside import drop_aside
from mmst_cli.config.schema import Modality, ModelConfig
from mmst_cli.encoding.job import EncodeJob
from mmst_cli.encoding.shards import PartRecord, PartWriter, open_part
from mmst_cli.encoding.taken_inputs import TakenInputs
from mmst_cli.errors import ModelError
from mmst_cli.inputs.items import Source
from mmst_cli.inputs.media_options import in_options
from mmst_cli.model.patch_embedding import multiply_patches
from mmst_cli.model.precision import Precision, Runtime
from mmst_cli.model.preprocessor import without_weights
from mmst_cli.model.prompts import check_prompt_name
from mmst_cli.preparing.model_probe import check_embeds
from mmst_cli.preparing.prepared_model import prepare_model
from mmst_cli.terminal import Progress
from mmst_cli.vectors.data_workers import Workers
from mmst_cli.vectors.forward_pass import how_to_encode
from mmst_cli.vectors.found_sizes import BatchLimits
from mmst_cli.vectors.input_stream import InputPipeline
from mmst_cli.vectors.quantise import VectorFormat
from mmst_cli.vectors.ranges import Ranges
from mmst_cli.vectors.windows import Encoded

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_encoder(
    job: EncodeJob, config: ModelConfig, runtime: Runtime, sources: list[Source], ranges: Ranges | None = None
) -> Encoder:
    """Load the model and check that it can do the job.

    Args:
        job: what is asked for.
        config: the model.
        runtime: where it will run, and in which precision.
        sources: the inputs; their readers are told what the model wants.
        ranges: for int8, those of the dimension that is written.

    Raises:
        ModelError: it can't.
    """
    readers = [source.reader for source in sources]
    prepared = prepare_model(config, runtime, readers=readers, key_of=lambda key: in_options(f"media.{key}"))
    model = prepared.model
    if runtime.precision.autocast is None and model.dtype is torch.float32:  # half precision would round otherwise
        multiply_patches(model)
    encoder = Encoder(model, job, ranges, runtime.precision)
    for source in sources:
        if not any(encoder.inputs.takes(kind) for kind in source.kinds):
            found = " and ".join(" with ".join(kind) for kind in source.kinds)
            raise ModelError(f"{source.name}: {found}, but {job.model} takes {encoder.inputs.taken}.")
    _check_embeds(encoder, sources)
    check_prompt_name(model, job.prompt_name, job.model)
    if not encoder.model_dimension:
        raise ModelError(f"{job.model}: it doesn't say how many dimensions its vectors have.")
    if encoder.dimension > encoder.model_dimension:
        raise ModelError(
            f"--dim {job.dim}: the vectors of {job.model} have {encoder.model_dimension} dimensions. "
            "Write that or less."
        )
    if ranges is not None and ranges.dimension not in (encoder.dimension, encoder.model_dimension):
        raise ModelError(
            f"--ranges: they are of vectors of {ranges.dimension} dimensions, and those of {job.model} have "
            f"{encoder.model_dimension}. Name ranges of this model."
        )
    return encoder


def _check_embeds(encoder: Encoder, sources: list[Source]) -> None:
    """Embed a probe of each kind of input that the model takes; of mixed columns only reading tells the kind."""
    kinds = [(source.name, kind) for source in sources for kind in source.kinds if encoder.inputs.takes(kind)]
    told = [(name, tuple(map(str, kind))) for name, kind in kinds if kind != (Modality.mixed,)]
    task, _ = how_to_encode(encoder.job.prompt_name)
    declared = [(name, kind if len(kind) > 1 else kind[0], task) for name, kind in told]
    check_embeds(encoder.model, declared, encoder.precision or Precision(), settings="--dtype")


class Encoder:
    """A loaded model with what a job asks of it."""

    def __init__(
        self,
        model: SentenceTransformer,
        job: EncodeJob,
        ranges: Ranges | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.model, self.job, self.ranges, self.precision = model, job, ranges, precision
        self.device = model.device
        self.inputs = TakenInputs(model)
        model.truncate_dim = model.truncate_dim if job.dim is None else None
        self.dimension = self.model_dimension = int(model.get_embedding_dimension() or 0)
        if job.dim is not None:
            self.dimension = model.truncate_dim = job.dim
        pair = ranges.by_dim.get(self.dimension) if ranges else None
        self.format = VectorFormat(self.dimension, job.precision, pair)
        # The commit that a branch or tag of a hub id stood for.
        self.commit: str | None = getattr(model.config, "_commit_hash", None)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process gets: all but the weights."""
        return {**vars(self), "model": without_weights(self.model)}

    def pipeline(
        self, workers: Workers | None, limits: BatchLimits | None = None, say: Callable[[str], None] = lambda _: None
    ) -> InputPipeline:
        """Return what encodes streams of items; see :class:`InputPipeline` of the arguments."""
        return InputPipeline(
            self.model,
            read=self.inputs,
            batch_size=self.job.batch_size if isinstance(self.job.batch_size, int) else None,
            precision=self.precision,
            workers=workers,
            setting="--workers",
            limits=limits,
            say=say,
        )

    def write_parts(
        self, stream: Iterator[Encoded], output: Path, first: int, progress: Progress, limits: Callable[[], BatchLimits]
    ) -> list[PartRecord]:
        """Write parts from number ``first`` on and return their records.

        Args:
            stream: what became of the inputs, in order; nothing in it belongs to two parts.
            output: the folder.
            first: number of the first part.
            progress: counts items.
            limits: tells what was found of batch sizes so far.
        """
        records: list[PartRecord] = []
        for encoded in stream:
            with open_part(output, first + len(records), self.format) as writer:
                for more in chain([encoded], stream):
                    self._write(more, writer)
                    progress.advance(len(more.references))
                    if writer.record.items == self.job.rows_per_part:
                        break
                writer.record.batch_limits = limits()
            records.append(writer.record)
            drop_aside(output)  # from here on --resume goes on with these
        return records

    def _write(self, encoded: Encoded, writer: PartWriter) -> None:
        for item, stamp in zip(encoded.references, encoded.notes, strict=True):
            writer.cover(item, stamp)
        for place, fault in encoded.faults.items():
            writer.fail(encoded.references[place].id, in_options(" ".join(fault.reason.split())))
        if not encoded.good:
            return
        ids = [encoded.references[place].id for place in encoded.good]
        vectors = encoded.vectors
        if self.job.dim is not None:
            vectors = torch.nn.functional.normalize(vectors, p=2, dim=1)
        finite = (vectors.half() if self.job.precision == "float16" else vectors).isfinite().all(dim=1)
        for index in (~finite).nonzero().flatten().tolist():
            writer.fail(ids[index], f"the model gave no vector for it that is finite in {self.job.precision}")
        writer.add([name for name, good in zip(ids, finite.tolist(), strict=True) if good], vectors[finite])
