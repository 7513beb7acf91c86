"""`mmst search`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, loading, path_named, path_option, print_json, told_in_one_line


def search(
    vectors: Annotated[
        Path, typer.Argument(parser=path_named, metavar="VECTORS", help="A folder that mmst encode wrote.")
    ],
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY...",
            help="Texts, images, sounds, clips, PDF files (or pages of them: file.pdf#3), .txt (a text a line), or - "
            "for lines of stdin.",
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many to find for each query.")] = 10,
    given: Annotated[
        Path | None,
        typer.Option(
            "--vectors",
            parser=path_named,
            metavar="PATH",
            help="Instead of QUERY, vectors: .npy, .parquet, or a folder that mmst encode wrote.",
        ),
    ] = None,
    dim: Annotated[int | None, typer.Option(help="Search in so many dimensions, as many as stored or fewer.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Search in float32, float16, int8, binary or binary-rescored, as stored or below; bits are rescored "
            "if it is left out."
        ),
    ] = None,
    index: Annotated[
        str, typer.Option(help="exact, or faiss: built beside the vectors at the first search, for large collections.")
    ] = "exact",
    model: Annotated[
        str | None, typer.Option(help="Where the model is that made the vectors, if it is not where it was.")
    ] = None,
    prompt_name: Annotated[str | None, typer.Option(help="A prompt of the model; left out, that of queries.")] = None,
    html: Annotated[Path | None, path_option("Write a page that shows what was found.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Find what is nearest in an encoded collection.

    Queries are embedded by the model that made the vectors, with its prompt for queries, and compared by its own
    similarity.

    Example: mmst search vectors "a page with a red header" --top 5
    """
    with told_in_one_line():
        from mmst_cli.vectors.vector_folder import open_vectors

        folder = open_vectors(vectors)  # before torch is imported, which takes seconds
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.searching.search import run_search
            from mmst_cli.searching.search_result import show_result
        result = run_search(
            folder,
            queries or [],
            given=given,
            top=top,
            dim=dim,
            precision=precision,
            index=index,
            model=model,
            prompt_name=prompt_name,
            page=html,
            overwrite=overwrite,
            terminal=terminal,
        )
        if json_output:
            print_json(result.to_dict())
        else:
            show_result(result, terminal)
