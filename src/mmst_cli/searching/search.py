"""`mmst search`: the nearest of what `mmst encode` wrote."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from mmst_cli.errors import ConfigError, RunError
from mmst_cli.media.reading import Reader
from mmst_cli.output_claim import check_writable
from mmst_cli.searching.exact_search import Hit, passes_over, search_exactly
from mmst_cli.searching.faiss_index import check_indexed, open_index
from mmst_cli.searching.found_documents import media_of
from mmst_cli.searching.given_vectors import read_vectors
from mmst_cli.searching.queries import find_queries
from mmst_cli.searching.query_vectors import embed_queries, find_query_model, load_query_model
from mmst_cli.searching.search_page import write_page
from mmst_cli.searching.search_result import SearchResult
from mmst_cli.searching.searched_vectors import SIMILARITIES, SearchedVectors, choose_form, view_vectors
from mmst_cli.storage import told_of_disk
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.vectors.vector_folder import MANIFEST, VectorFolder, open_vectors

INDEXES = ("exact", "faiss")


def run_search(
    vectors: Path | VectorFolder,
    queries: Sequence[str] = (),
    *,
    given: Path | None = None,
    top: int = 10,
    dim: int | None = None,
    precision: str | None = None,
    index: str = "exact",
    model: str | None = None,
    prompt_name: str | None = None,
    page: Path | None = None,
    overwrite: bool = False,
    terminal: Terminal,
) -> SearchResult:
    """Return the nearest vectors of a collection.

    Args:
        vectors: a folder that `mmst encode` wrote, or what `open_vectors` made of it.
        queries: texts, files of media, or `-` for lines of stdin; embedded by the model that made the vectors.
        given: instead of queries, vectors: a `.npy` or parquet file, or a folder that `mmst encode` wrote.
        top: how many to find for each query.
        dim: search in so many dimensions, those stored or fewer.
        precision: search in float32, float16, int8, binary or binary-rescored, as stored or below; bits are rescored
            if it is left out.
        index: exact, or faiss.
        model: where the model that made the vectors is now.
        prompt_name: a prompt of the model; queries are embedded as such if left out.
        page: an HTML file to write.
        overwrite: replace that file.
        terminal: where progress is shown.

    Raises:
        MmstError: arguments, folder, queries or model don't fit.
    """
    started = time.monotonic()
    _check_arguments(queries, given, top, index, model, prompt_name)
    folder = open_vectors(vectors) if isinstance(vectors, Path) else vectors
    dim, precision = choose_form(folder, dim, precision)
    _check_page(page, overwrite)
    if given is not None:
        asked, wanted = read_vectors(given, folder, dim)
        name, similarity = None, str(folder.manifest.get("similarity", "cosine"))
        if "similarity" not in folder.manifest:
            terminal.warn(f"{folder.path}: {MANIFEST} doesn't say the model's similarity; it is taken to be cosine.")
    else:
        reader = Reader(media_of(folder), Path())
        asked = find_queries(queries, reader, terminal)
        found = find_query_model(folder, model, terminal)
        quiet_libraries(terminal)
        with terminal.waiting("loading the model"):
            loaded, runtime = load_query_model(folder, found, reader, terminal)
        name, similarity = found[0], str(loaded.similarity_fn_name)
        wanted = embed_queries(folder, asked, loaded, runtime, prompt_name)
        del loaded
    if similarity not in SIMILARITIES:
        raise ConfigError(f"{folder.path}: {similarity} similarity, of which no search is known.")
    check_indexed(index, similarity)
    searched = view_vectors(folder, dim, precision, similarity, terminal)
    hits, how = _search(searched, wanted, min(top, folder.count), index, terminal)
    if searched.broken:
        terminal.warn(
            f"{folder.path}: {len(searched.broken):,} vectors hold NaN or infinity and are left out, such as that of"
            f" {searched.broken[0]}."
        )
    result = SearchResult(
        *(folder.path, folder.count - len(searched.broken), len(searched.broken), name, similarity, dim, precision),
        *(how, asked, hits, page, time.monotonic() - started),
    )
    if page is not None:
        with terminal.waiting("reading what was found"), told_of_disk(page):
            write_page(page, result, folder)
    return result


def _search(
    searched: SearchedVectors, wanted: torch.Tensor, top: int, index: str, terminal: Terminal
) -> tuple[list[list[Hit]], str]:
    """Return what is found, and how it was searched for."""
    queries = searched.prepare(wanted)
    if index != "exact":
        found = open_index(searched, terminal)
        return found.search(queries, top), found.kind
    total = passes_over(searched) * searched.folder.count
    with terminal.progress("searching", total, unit="vectors") as progress:
        return search_exactly(searched, queries, top, progress), "exact"


def _check_arguments(
    queries: Sequence[str], given: Path | None, top: int, index: str, model: str | None, prompt_name: str | None
) -> None:
    faults = []
    if top < 1:
        faults.append(f"--top: {top}; write a whole number above 0.")
    if index not in INDEXES:
        faults.append(f"--index {index}: write {' or '.join(INDEXES)}.")
    if given is not None and queries:
        faults.append("--vectors: these are the queries, and there are others besides. Leave one of them out.")
    if given is None and not queries:
        faults.append("QUERY: nothing to look for. Write a text, name a file, or give vectors by --vectors.")
    if given is not None and (model or prompt_name):
        faults.append("--vectors: nothing is embedded, so leave --model and --prompt-name out.")
    if list(queries).count("-") > 1:
        faults.append("QUERY: - stands for stdin, which can be read only once.")
    if faults:
        raise ConfigError(*faults)


def _check_page(page: Path | None, overwrite: bool) -> None:
    if page is None:
        return
    if page.is_dir():
        raise RunError(f"--html: {page} is a folder; name a file.")
    if page.exists() and not overwrite:
        raise RunError(f"--html: {page} is there already. Name another file, or add --overwrite.")
    check_writable(page.parent, "--html")
