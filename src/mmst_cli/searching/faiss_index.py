"""An index of FAISS beside the vectors: built at the first search, and used again as long as they stay as they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from mmst_cli.errors import ConfigError, WorkError, first_line
from mmst_cli.output_claim import claimed
from mmst_cli.searching.exact_search import Hit
from mmst_cli.searching.searched_vectors import RESCORED, SearchedVectors
from mmst_cli.storage import digest, disk_fault, whole_file, write_json
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.nearest import check_index
from mmst_cli.vectors.quantise import OVERSAMPLING
from mmst_cli.work import read_job

FLAT = 50_000  # vectors up to which an index compares all of them, and finds what an exact search does
TRAINED_ON = 64  # vectors for each list
PROBED = 16  # one in so many lists is looked through
METRICS = {"cosine": "METRIC_INNER_PRODUCT", "dot": "METRIC_INNER_PRODUCT", "euclidean": "METRIC_L2"}


def check_indexed(index: str, similarity: str) -> None:
    """Check that an index can be had for a similarity function.

    Raises:
        ConfigError: the package is missing, or has no such similarity.
    """
    check_index(index)
    if index != "exact" and similarity not in METRICS:
        raise ConfigError(f"--index {index}: it has no {similarity} similarity, which the model has. Leave it out.")


class FaissIndex:
    """An index of a collection in one dimension and precision."""

    def __init__(self, searched: SearchedVectors, index: Any) -> None:
        self.searched, self.index = searched, index

    @property
    def kind(self) -> str:
        """What it does, in words."""
        lists = getattr(self.index, "nlist", 0)
        return f"faiss, the nearest {self.index.nprobe} of {lists:,} lists" if lists else "faiss, all vectors"

    def search(self, queries: torch.Tensor, k: int) -> list[list[Hit]]:
        """Return about the ``k`` best of each query: best first, equal scores in the order of their ids.

        Args:
            queries: as `searched.prepare` gave them.
            k: how many.
        """
        scores, places = self._by_bits(queries, k) if self.searched.by_bits else self._by_floats(queries, k)
        ids = self.searched.folder.ids_at(places[places >= 0])
        found = []
        for row, values in zip(places.tolist(), scores.tolist(), strict=True):
            hits = [(ids[place], value) for place, value in zip(row, values, strict=True) if place >= 0]
            found.append(sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:k])
        return found

    def _by_floats(self, queries: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
        if lists := getattr(self.index, "nlist", 0):
            enough = math.ceil(4 * k * lists / self.index.ntotal)  # lists that hold what is wanted several times over
            self.index.nprobe = min(lists, max(1, lists // PROBED, enough))
        scores, places = self.index.search(np.ascontiguousarray(queries.float().numpy()), k)
        return (-np.sqrt(np.maximum(scores, 0)) if self.searched.similarity == "euclidean" else scores), places

    def _by_bits(self, queries: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
        dim, rescored = self.searched.dim, self.searched.precision == RESCORED
        count = min(self.index.ntotal, OVERSAMPLING * k if rescored else k)
        distances, places = self.index.search(np.packbits(queries.numpy() > 0, axis=1), count)
        if not rescored:
            return dim - 2 * distances, places
        scores = np.empty(places.shape, dtype=np.float32)
        for query, row, into in zip(queries, places.tolist(), scores, strict=True):
            codes = np.stack([self.index.reconstruct(place) for place in row])
            into[:] = torch.from_numpy(np.unpackbits(codes, axis=1, count=dim)).double() @ query
        return scores, places


def open_index(searched: SearchedVectors, terminal: Terminal) -> FaissIndex:
    """Return the index of a collection, built if there is none that holds for it.

    Raises:
        RunError: it has to be built, and another command is at work in the folder, or nothing can be written there.
        WorkError: it can't be written.
    """
    import faiss

    folder = searched.folder.path
    name = f"_index-{searched.dim}-{searched.stored}"
    path, record = folder / f"{name}.faiss", folder / f"{name}.json"
    read = faiss.read_index_binary if searched.by_bits else faiss.read_index
    if read_job(folder, record.name) == _record(searched):
        try:
            return FaissIndex(searched, read(str(path), faiss.IO_FLAG_MMAP_IFC))
        except RuntimeError:
            terminal.warn(f"{path}: it can't be read, and is built again.")
    with claimed(folder, "VECTORS"):
        index = _build(searched, terminal)
        record.unlink(missing_ok=True)
        with whole_file(path) as partial:
            try:
                (faiss.write_index_binary if searched.by_bits else faiss.write_index)(index, str(partial))
            except RuntimeError as error:
                why = disk_fault(error, path) or f"{path}: the index can't be written: {first_line(error).rstrip('.')}"
                raise WorkError(f"{why}.") from error
        write_json(record, _record(searched))
    return FaissIndex(searched, index)


def _record(searched: SearchedVectors) -> dict[str, Any]:
    """Return what an index is of: it holds as long as this stays the same."""
    import faiss

    folder = searched.folder
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path, _ in folder.parts]
    similarity = None if searched.by_bits else searched.similarity
    return {"vectors": digest(folder.manifest, files), "similarity": similarity, "faiss": faiss.__version__}


def _build(searched: SearchedVectors, terminal: Terminal) -> Any:
    import faiss

    count = searched.folder.count
    index: Any
    if searched.by_bits:
        index = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat((searched.dim + 7) // 8 * 8))
    else:
        metric = getattr(faiss, METRICS[searched.similarity])
        lists = math.isqrt(count)
        index = faiss.index_factory(searched.dim, "IDMap2,Flat" if count <= FLAT else f"IVF{lists},Flat", metric)
        if not index.is_trained:
            with terminal.waiting("training the index"):
                index.train(_sample(searched, TRAINED_ON * lists))
    with terminal.progress("building the index", count, unit="vectors") as progress:
        for places, ids, vectors in searched.pieces():
            values = np.packbits(vectors.numpy() > 0, axis=1) if searched.by_bits else vectors.float().numpy()
            index.add_with_ids(values, places)
            progress.advance(len(ids))
    return index


def _sample(searched: SearchedVectors, count: int) -> np.ndarray:
    """Return about ``count`` vectors from everywhere in a collection."""
    step = max(1, searched.folder.count // count)
    chosen = (vectors[torch.from_numpy(places % step == 0)] for places, _, vectors in searched.pieces())
    return np.concatenate([vectors.float().numpy() for vectors in chosen])
