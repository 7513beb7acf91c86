"""A loaded model that encodes a stream of items into parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.aside import drop_aside
from mmst_cli.config.schema import Modality, ModelConfig
from mmst_cli.encoding.job import EncodeJob
from mmst_cli.encoding.shards import PartRecord, PartWriter, open_part
from mmst_cli.errors import DataError, ModelError, WorkError, did_you_mean
from mmst_cli.inputs.items import Item, Modalities, Source
from mmst_cli.inputs.media_options import in_options
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.model.model_parts import takes
from mmst_cli.model.precision import Precision, Runtime
from mmst_cli.preparing.model_probe import check_embeds
from mmst_cli.preparing.prepared_model import prepare_model
from mmst_cli.terminal import Progress
from mmst_cli.vectors.fitting_batches import MemoryShortageError
from mmst_cli.vectors.input_stream import chunk_inputs, encode_stream, how_to_encode, kind_of
from mmst_cli.vectors.quantise import VectorFormat
from mmst_cli.vectors.ranges import Ranges
from mmst_cli.vectors.refused_inputs import RefusedInputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


_LESS_MEMORY = (
    "Lower what an input holds (--max-pixels and --max-frames of clips, --dpi of pages; of images the model's own"
    " processor decides), or free the device. --resume goes on behind the parts that are whole."
)


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
    encoder = Encoder(model, job, ranges, runtime.precision)
    for source in sources:
        if not any(encoder.takes(kind) for kind in source.kinds):
            found = " and ".join(" with ".join(kind) for kind in source.kinds)
            raise ModelError(f"{source.name}: {found}, but {job.model} takes {encoder.taken}.")
    _check_embeds(encoder, sources)
    if job.prompt_name is not None and job.prompt_name not in model.prompts:
        known = ", ".join(model.prompts) or "none"
        raise ModelError(
            f"--prompt-name {job.prompt_name}: no such prompt; {job.model} has {known}."
            + did_you_mean(job.prompt_name, model.prompts)
        )
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
    kinds = [(source.name, kind) for source in sources for kind in source.kinds if encoder.takes(kind)]
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
        model.truncate_dim = model.truncate_dim if job.dim is None else None
        self.dimension = self.model_dimension = int(model.get_embedding_dimension() or 0)
        if job.dim is not None:
            self.dimension = model.truncate_dim = job.dim
        pair = ranges.by_dim.get(self.dimension) if ranges else None
        self.format = VectorFormat(self.dimension, job.precision, pair)
        # The commit that a branch or tag of a hub id stood for.
        self.commit: str | None = getattr(model.config, "_commit_hash", None)

    @property
    def taken(self) -> str:
        """What the model takes, for messages."""
        modalities = self.model.modalities
        return ", ".join(modality if isinstance(modality, str) else "+".join(modality) for modality in modalities)

    def takes(self, kind: Modalities) -> bool:
        """Say whether the model takes inputs of a kind; of those in mixed columns only reading tells."""
        wanted = tuple(map(str, kind))
        return wanted == (Modality.mixed,) or takes(self.model, wanted if len(wanted) > 1 else wanted[0])

    def write_parts(self, items: Iterator[Item], output: Path, first: int, progress: Progress) -> list[PartRecord]:
        """Write parts from number ``first`` on and return their records."""
        records: list[PartRecord] = []
        for item in items:
            part = chain([item], islice(items, self.job.rows_per_part - 1))
            with open_part(output, first + len(records), self.format) as writer:
                self._write_items(part, writer, progress)
            records.append(writer.record)
            drop_aside(output)  # from here on --resume goes on with these
        return records

    def _write_items(self, items: Iterator[Item], writer: PartWriter, progress: Progress) -> None:
        ids: list[str] = []  # of the inputs that chunk_inputs has taken and not given back

        def read() -> Iterator[Any]:
            for item in items:
                writer.cover(item)
                try:
                    value = self._read(item)
                except Exception as error:  # what opens a file may raise whatever it likes; one file is one failure
                    if not concerns_input(error):
                        raise
                    writer.fail(item.id, _explain(error))
                    progress.advance(1)
                    continue
                ids.append(item.id)
                yield value

        for chunk in chunk_inputs(read(), self.job.batch_size):
            self._write_chunk(list(ids), chunk, writer)
            ids.clear()
            progress.advance(len(chunk))
            del chunk  # or it would be held while the next one is read

    def _read(self, item: Item) -> Any:
        """Return the input, read; nothing is read of one that the model doesn't take.

        Raises:
            DataError: it doesn't.
        """
        self._check_taken(item.modalities)
        value = item.read()
        held = _held(value)
        if held != item.modalities:
            self._check_taken(held)
        if held == (Modality.message,):
            for part in _parts_of(value):
                self._check_taken((Modality.message, part), part)
        return value

    def _check_taken(self, found: Modalities, part: Modality | None = None) -> None:
        if not self.takes(found if part is None else (part,)):
            raise DataError(f"{' with '.join(found)}, but the model takes {self.taken}")

    def _write_chunk(self, ids: list[str], chunk: list[Any], writer: PartWriter) -> None:
        try:
            vectors = self._encode(chunk)
        except MemoryShortageError as error:
            raise WorkError(f"{error}. {_LESS_MEMORY}") from error
        except RefusedInputError as error:
            for index, fault in error.reasons.items():
                writer.fail(ids[index], in_options(fault))
            ids = [name for index, name in enumerate(ids) if index not in error.reasons]
            vectors = self._encode([value for index, value in enumerate(chunk) if index not in error.reasons])
        finite = (vectors.half() if self.job.precision == "float16" else vectors).isfinite().all(dim=1)
        for index in (~finite).nonzero().flatten().tolist():
            writer.fail(ids[index], f"the model gave no vector for it that is finite in {self.job.precision}")
        writer.add([name for name, good in zip(ids, finite.tolist(), strict=True) if good], vectors[finite])

    def _encode(self, chunk: list[Any]) -> torch.Tensor:
        """Return float32 vectors of shape (inputs, dimension)."""
        if not chunk:
            return torch.empty(0, self.dimension)
        job = self.job
        task, prompt_name = how_to_encode(job.prompt_name)
        stream = encode_stream(
            self.model,
            chunk,
            batch_size=job.batch_size,
            task=task,
            prompt_name=prompt_name,
            precision=self.precision,
        )
        vectors = torch.cat(list(stream))
        return vectors if job.dim is None else torch.nn.functional.normalize(vectors, p=2, dim=1)


def _held(value: Any) -> Modalities:
    kind = kind_of(value)
    return tuple(Modality(part) for part in ((kind,) if isinstance(kind, str) else kind))


def _parts_of(chat: list[dict[str, Any]]) -> list[Modality]:
    contents = [message["content"] for message in chat if not isinstance(message["content"], str)]
    return list(dict.fromkeys(Modality(part["type"]) for content in contents for part in content))


def _explain(error: Exception) -> str:
    return in_options(" ".join(str(error).split())) or type(error).__name__
