"""The model card: what the model is, how it was made, and what each dimension is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmst_cli import __version__
from mmst_cli.config.schema import Config, Modality, Role
from mmst_cli.config.signatures import OWN_EVALUATOR
from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.model.load_model import model_label
from mmst_cli.retrieval.data_card import Rows, data_card
from mmst_cli.rows.columns import Column
from mmst_cli.storage import write_text
from mmst_cli.training.training_summary import comparison_rows


def model_card(
    config: Config,
    config_yaml: str,
    rows: Mapping[str, Rows],
    before: Mapping[str, Evaluation],
    after: Mapping[str, Evaluation],
    summary: str = "",
    saved: str = "",
    serving: str = "",
    *,
    adapter: bool = False,
) -> str:
    """Return a model card in Markdown, with the hub's front matter.

    Nothing of the data is opened or embedded to write it; only names, roles and counts are shown.

    Args:
        config: the whole config.
        config_yaml: the same as a file.
        rows: dataset to its rows.
        before: what the untrained model scored, by evaluator.
        after: what this one scored.
        summary: the outcome in a sentence.
        saved: whether this folder holds the model that was measured, in a sentence; nothing if left out.
        serving: how it is served.
        adapter: whether it holds an adapter by itself.
    """
    base = model_label(config.model)
    parts = [
        f"---\n{_front_matter(config, base, after, adapter=adapter)}\n---",
        f"# {config.run_name}",
        _origin(config, base, adapter=adapter),
        _usage(config, rows),
        serving,
        _scores(before, after, summary),
        f"## Saved as measured\n\n{saved}" if saved else "",
        _data(config, rows),
        f"## Configuration\n\n```yaml\n{config_yaml.strip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _origin(config: Config, base: str, *, adapter: bool) -> str:
    made = f"with mmst {__version__} and sentence-transformers"
    lora = config.model.adapter
    if lora is None:
        return f"An embedding model finetuned from `{base}` {made}."
    kind = f"{'DoRA' if lora.use_dora else 'LoRA'} adapter of rank {lora.r}"
    at = f" at revision `{config.model.revision}`" if config.model.revision else ""
    if not adapter:
        return f"An embedding model finetuned from `{base}`{at} {made}, by a {kind} that is merged into its weights."
    return (
        f"A {kind}, trained {made}. It needs `{base}`{at}, which is loaded with it, and the package peft. Plain"
        " sentence-transformers takes the default branch of what it needs, whatever the revision."
    )


def _front_matter(config: Config, base: str, after: Mapping[str, Evaluation], *, adapter: bool) -> str:
    """Return what the hub reads of a card: kind, tags, base model, and the primary metric at each size."""
    from huggingface_hub import EvalResult, ModelCardData

    on_hub = not config.model.routes and not base.startswith(("builtin:", "/", ".", "~"))
    found = [
        EvalResult(
            task_type="retrieval" if config.evaluators[name].type == OWN_EVALUATOR else "sentence-similarity",
            dataset_type=config.datasets[config.evaluators[name].dataset].path,
            dataset_name=name,
            metric_type=evaluation.result.primary_metric,
            metric_name=f"{evaluation.result.primary_metric}, {cell.dim} dimensions, {cell.precision}",
            metric_value=evaluation.result.primary(cell),
        )
        for name, evaluation in after.items()
        for cell in evaluation.result.cells
    ]
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "multimodal", "mmst"],
        base_model=base if on_hub else None,
        base_model_relation="adapter" if adapter and on_hub else None,
        model_name=config.run_name if found else None,
        eval_results=found or None,
    )
    return data.to_yaml()


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
