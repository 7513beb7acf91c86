"""The model card: what the model is, how it was made, and what each dimension is worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmst_cli import __version__
from mmst_cli.config.schema import Config
from mmst_cli.data.columns import RowSet
from mmst_cli.evaluation.results import EvaluationResult
from mmst_cli.storage import write_text
from mmst_cli.training.summary import comparison_rows


def model_card(
    config: Config,
    config_yaml: str,
    rows: Mapping[str, RowSet],
    before: Mapping[str, EvaluationResult],
    after: Mapping[str, EvaluationResult],
    summary: str = "",
) -> str:
    """Return a model card in Markdown, with the hub's front matter.

    Nothing of the data is opened or embedded to write it; only names, roles and counts are shown.
    """
    base = config.model.name_or_path
    front = ["library_name: sentence-transformers", "pipeline_tag: sentence-similarity", "tags:"]
    front += ["- sentence-transformers", "- feature-extraction", "- multimodal", "- mmst"]
    if not base.startswith(("builtin:", "/", ".", "~")):
        front.append(f"base_model: {base}")
    parts = [
        "---\n" + "\n".join(front) + "\n---",
        f"# {config.run_name}",
        f"An embedding model finetuned from `{base}` with mmst {__version__} and sentence-transformers.",
        _usage(config),
        _scores(before, after, summary),
        _data(config, rows),
        f"## Configuration\n\n```yaml\n{config_yaml.strip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_card(folder: Path, text: str) -> None:
    """Write a card into a model folder."""
    write_text(folder / "README.md", text)


def _usage(config: Config) -> str:
    dims = config.matryoshka_dims
    smaller = f", truncate_dim={dims[len(dims) // 2]}, normalize_embeddings=True" if len(dims) > 1 else ""
    return f"""## Use

```python
from PIL import Image
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
query = model.encode_query("a text query"{smaller})
page = model.encode_document(Image.open("page.png"){smaller})
print(model.similarity(query, page))
```"""


def _scores(before: Mapping[str, EvaluationResult], after: Mapping[str, EvaluationResult], summary: str) -> str:
    if not after:
        return ""
    lines = ["## Evaluation", "", summary, ""]
    for name, result in after.items():
        lines += [
            f"### {name}: {result.primary_metric}, {result.queries} queries, {result.corpus} documents",
            "",
            "| dimension | before | after | share of full | bytes per vector |",
            "|---:|---:|---:|---:|---:|",
        ]
        for row in comparison_rows(before.get(name), result):
            old = "-" if row["before"] is None else f"{row['before']:.4f}"
            share = "-" if row["share_of_full"] is None else f"{row['share_of_full']:.1%}"
            lines.append(f"| {row['dim']} | {old} | {row['after']:.4f} | {share} | {row['bytes_per_vector']} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _data(config: Config, rows: Mapping[str, RowSet]) -> str:
    lines = ["## Data", "", "| name | used for | source | rows | columns |", "|---|---|---|---:|---|"]
    for key, row_set in rows.items():
        section = config.datasets[key]
        source = section.path + (f" / {section.name}" if section.name else "") + f" [{section.split}]"
        columns = ", ".join(f"{c.name} ({c.role}, {c.modality})" for c in row_set.columns)
        lines.append(f"| {key} | {section.use} | {source} | {len(row_set)} | {columns} |")
    return "\n".join(lines)
