"""The model card: what the model is, how it was made, and what each dimension is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmst_cli import __version__
from mmst_cli.config.schema import Config, Modality, Role
from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.model.load import model_label
from mmst_cli.retrieval.data_card import Rows, data_card
from mmst_cli.rows.columns import Column
from mmst_cli.storage import write_text
from mmst_cli.training.summary import comparison_rows


def model_card(
    config: Config,
    config_yaml: str,
    rows: Mapping[str, Rows],
    before: Mapping[str, Evaluation],
    after: Mapping[str, Evaluation],
    summary: str = "",
) -> str:
    """Return a model card in Markdown, with the hub's front matter.

    Nothing of the data is opened or embedded to write it; only names, roles and counts are shown.
    """
    base = model_label(config.model)
    front = ["library_name: sentence-transformers", "pipeline_tag: sentence-similarity", "tags:"]
    front += ["- sentence-transformers", "- feature-extraction", "- multimodal", "- mmst"]
    if not config.model.routes and not base.startswith(("builtin:", "/", ".", "~")):
        front.append(f"base_model: {base}")
    parts = [
        "---\n" + "\n".join(front) + "\n---",
        f"# {config.run_name}",
        f"An embedding model finetuned from `{base}` with mmst {__version__} and sentence-transformers.",
        _usage(config, rows),
        _scores(before, after, summary),
        _data(config, rows),
        f"## Configuration\n\n```yaml\n{config_yaml.strip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_card(folder: Path, text: str) -> None:
    """Write a card into a model folder."""
    write_text(folder / "README.md", text)


_EXAMPLES = {
    Modality.text: '"some text"',
    Modality.image: '"image.png"',
    Modality.audio: '"sound.wav"',
    Modality.video: '"clip.mp4"',
    Modality.message: '[{"role": "user", "content": "some text"}]',
}


def _usage(config: Config, rows: Mapping[str, Rows]) -> str:
    dims = config.matryoshka_dims
    smaller = f", truncate_dim={dims[len(dims) // 2]}, normalize_embeddings=True" if len(dims) > 1 else ""
    columns = [column for data in rows.values() for column in data.columns]
    query, document = (_example(columns, role) for role in (Role.anchor, Role.positive))
    return f"""## Use

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
query = model.encode_query({query}{smaller})
document = model.encode_document({document}{smaller})
print(model.similarity(query, document))
```"""


def _example(columns: Sequence[Column], role: Role) -> str:
    """Return an input of the kind that the first column of a role holds."""
    modalities: tuple[Modality, ...] = next((c.modalities for c in columns if c.role is role), (Modality.text,))
    if modalities == (Modality.mixed,):
        modalities = (Modality.text, Modality.image)
    if len(modalities) == 1:
        return _EXAMPLES[modalities[0]]
    return "{" + ", ".join(f'"{modality}": {_EXAMPLES[modality]}' for modality in modalities) + "}"


def _scores(before: Mapping[str, Evaluation], after: Mapping[str, Evaluation], summary: str) -> str:
    if not after:
        return ""
    lines = ["## Evaluation", "", summary, ""]
    for name, evaluation in after.items():
        result = evaluation.result
        lines += [
            f"### {name}: {result.primary_metric}, {result.queries} queries, {result.corpus} documents",
            "",
            "| dimension | precision | before | after | 95% interval | share of full | bytes per vector |",
            "|---:|---|---:|---:|---|---:|---:|",
        ]
        for row in comparison_rows(before.get(name), evaluation):
            old = "-" if row["before"] is None else f"{row['before']:.4f}"
            share = "-" if row["share_of_full"] is None else f"{row['share_of_full']:.1%}"
            interval = "-" if row["interval"] is None else "{:.4f} to {:.4f}".format(*row["interval"])
            values = [row["dim"], row["precision"], old, f"{row['after']:.4f}", interval, share]
            lines.append(f"| {' | '.join(map(str, [*values, row['bytes_per_vector']]))} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _data(config: Config, rows: Mapping[str, Rows]) -> str:
    entries = data_card(config, rows)
    lines = ["## Data", "", "| name | used for | source | rows | columns |", "|---|---|---|---:|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(entry.values())} |" for entry in entries)])
