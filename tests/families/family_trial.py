"""One family, from its raw or finished checkpoint through every command, compared with plain sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from family_builders import Family
from PIL import Image

from mmst_cli.config.schema import ModelConfig
from mmst_cli.encoding.encode import run_encode
from mmst_cli.errors import MmstError
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import find_config
from mmst_cli.model.inspect_model import run_inspection
from mmst_cli.preparing.inspected_inputs import run_input_inspection
from mmst_cli.terminal import Terminal
from mmst_cli.training.train import run_training

STEPS = ("inspect", "train", "eval", "encode", "equal")
ROWS, FPS, FRAMES = 8, 4, 8
RATES = (8000, 16_000)
WORDS = ("find", "red", "blue", "circle", "page", "with", "noise", "the")
CLOSE = 2e-5  # between vectors of the same inputs in batches of different lengths


@dataclass(frozen=True)
class Trial:
    """What became of one family."""

    family: Family
    architecture: str
    marks: dict[str, str]
    """Step to `yes`, or to what was said instead."""


def write_media(folder: Path) -> None:
    """Write eight texts, pictures, sounds and clips, each unlike the others."""
    import av
    import soundfile

    rng = np.random.default_rng(0)
    for index in range(ROWS):
        shade = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(shade).resize((64, 48), Image.Resampling.NEAREST).save(folder / f"{index}.png")
        for rate in RATES:
            tone = 0.4 * np.sin(2 * np.pi * (200 + 150 * index) * np.arange(rate // 2) / rate)
            (folder / str(rate)).mkdir(exist_ok=True)
            soundfile.write(folder / str(rate) / f"{index}.wav", tone.astype(np.float32), rate, subtype="FLOAT")
        with av.open(str(folder / f"{index}.mp4"), "w") as file:
            stream = file.add_stream("mpeg4", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(FRAMES):
                frame = np.full((48, 64, 3), 25 * index, np.uint8)
                frame[8:24, 6 * number : 6 * number + 16] = [250, 20, 20 * index]
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode(None))


ENDINGS = {"image": ".png", "audio": ".wav", "video": ".mp4"}


@dataclass(frozen=True)
class Media:
    """Where the inputs of a family are."""

    folder: Path
    rate: int


def _value(media: Media, modality: str, index: int) -> Any:
    """Return what a table holds for an input."""
    if modality == "text":
        return f"{WORDS[index]} picture of a page number {index}"
    folder = media.folder / str(media.rate) if modality == "audio" else media.folder
    return str(folder / f"{index}{ENDINGS[modality]}")


def _column(family: Family) -> dict[str, Any]:
    """Return how the documents are declared: of the last kind that a family takes."""
    last = family.takes[-1]
    if " with " in last:
        return {"role": "positive", "parts": {part: part for part in last.split(" with ")}}
    return {"role": "positive", "modality": last}


def write_config(family: Family, model: Path, media: Media, folder: Path) -> Path:
    """Write a table and a config that trains one step on it and evaluates."""
    import yaml

    first, last = family.takes[0], family.takes[-1]
    rows = []
    for index in range(ROWS):
        row = {"query": _value(media, "text" if " with " in first else first, index)}
        parts = last.split(" with ")
        named = zip(parts, parts, strict=True) if len(parts) > 1 else [("document", last)]
        rows.append(row | {name: _value(media, part, index) for name, part in named})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    query: dict[str, Any] = {"role": "anchor", "modality": first}
    if " with " in first:
        query = {**_column(family), "role": "anchor"}
    columns = {"document" if " with " not in last else "whole": _column(family), "query": query}
    shared = {"path": str(folder / "rows.jsonl"), "columns": dict(reversed(columns.items()))}
    config = {
        "output_dir": str(folder / "run"),
        "model": {"name_or_path": str(model), **family.model},
        "datasets": {name: {"use": name, **shared} for name in ("train", "eval")},
        "loss": [{"type": "MultipleNegativesRankingLoss"}],
        "evaluators": {"rows": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "eval"}},
        "training": {
            "max_steps": 1,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "use_cpu": True,
            "save_strategy": "no",
            "report_to": "none",
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def try_family(family: Family, media_folder: Path, folder: Path) -> Trial:
    """Build a family's model in ``folder`` and put it through every command."""
    from mmst_cli.config.rules import load_checked_config

    model, run = folder / "model", folder / "run"
    media = Media(media_folder, family.rate)
    family.build(model)
    config = write_config(family, model, media, folder)
    architecture = ""

    def inspect() -> None:
        nonlocal architecture
        trusted = bool(family.model.get("trust_remote_code"))
        facts = run_inspection(str(model), trust_remote_code=trusted)
        architecture = facts.architecture
        plain = _plain(model, trusted)
        _check_facts(facts, plain)
        _check_seen(ModelConfig(name_or_path=str(model), **family.model), plain, family, media)

    def train() -> None:
        run_training(load_checked_config(config, []), terminal=Terminal())

    def evaluate() -> None:
        run_evaluation(find_config(str(run), None, []), terminal=Terminal())

    def encode() -> None:
        for modality in family.takes:
            _encode(run, media, modality, folder / f"vectors of {modality}")

    def equal() -> None:
        plain = _plain(run / "model", bool(family.model.get("trust_remote_code")))
        for modality in family.takes:
            _check_equal(plain, media, modality, folder / f"vectors of {modality}")

    steps: dict[str, Callable[[], None]] = dict(zip(STEPS, (inspect, train, evaluate, encode, equal), strict=True))
    marks: dict[str, str] = {}
    for name, step in steps.items():
        needed = {"eval": "train", "encode": "train", "equal": "encode"}.get(name)
        if needed and marks[needed] != "yes":
            marks[name] = "-"
            continue
        try:
            step()
            marks[name] = "yes"
        except (MmstError, AssertionError) as error:
            marks[name] = " ".join(str(error).replace(str(folder), "").split())
    return Trial(family, architecture, marks)


def _check_seen(config: ModelConfig, plain: Any, family: Family, media: Media) -> None:
    """Compare what is said of inputs without the weights with what the loaded model's processor makes of them."""
    given = [str(_value(media, one, 0)) for one in family.takes if one in (*ENDINGS, "text")]
    for facts in run_input_inspection(config, given, Terminal()):
        if facts.modality == "text":
            mask = plain.preprocess([{"text": facts.input}]).get("attention_mask")
        elif facts.modality == "image":
            mask = plain.preprocess([Image.open(facts.input)]).get("attention_mask")
        else:
            continue
        assert facts.tokens == (None if mask is None or len(mask) != 1 else int(mask.sum())), facts


def _plain(model: Path, trusted: bool) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model), device="cpu", trust_remote_code=trusted)


def _check_facts(facts: Any, plain: Any) -> None:
    parameters = sum(parameter.numel() for parameter in plain.parameters())
    assert facts.parameters == parameters, f"{facts.parameters} parameters, where there are {parameters}"
    taken = {fact.modality for fact in facts.modalities if fact.supported}
    known = {name if isinstance(name, str) else "+".join(name) for name in plain.modalities}
    assert taken == known, f"takes {taken}, where {known} are"


def _encode(run: Path, media: Media, modality: str, output: Path) -> None:
    if modality == "text" or " with " in modality:
        parts = modality.split(" with ")
        table = output.with_suffix(".jsonl")
        rows = [{part: _value(media, part, index) for part in parts} for index in range(ROWS)]
        table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        inputs, columns = [str(table)], [f"{part}:{part}" for part in parts]
    else:
        inputs, columns = [_value(media, modality, index) for index in range(ROWS)], None
    result = run_encode(str(run), inputs, output, columns=columns, batch_size=4, terminal=Terminal())
    assert not result.failed, (output / "_errors.jsonl").read_text(encoding="utf-8").splitlines()[0]


@cache
def _plays_paths() -> bool:
    """Whether sentence-transformers can open clips here, for which it needs FFmpeg's libraries."""
    try:
        from torchcodec.decoders import VideoDecoder  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def _given(media: Media, modality: str, index: int) -> Any:
    """Return an input as a user of plain sentence-transformers gives it."""
    if " with " in modality:
        return {part: _given(media, part, index) for part in modality.split(" with ")}
    value = _value(media, modality, index)
    if modality == "image":
        return Image.open(value).convert("RGB")
    if modality == "audio":
        import soundfile

        return {"audio": {"array": soundfile.read(value, dtype="float32")[0], "sampling_rate": media.rate}}
    if modality == "video":
        return {"video": value if _plays_paths() else _frames(value)}
    return value


def _frames(path: str) -> dict[str, Any]:
    import av

    with av.open(path) as file:
        array = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    whole = {"total_num_frames": len(array), "duration": len(array) / FPS, "frames_indices": [*range(len(array))]}
    return {"array": array, "video_metadata": {"fps": FPS, **whole}}


def _check_equal(plain: Any, media: Media, modality: str, output: Path) -> None:
    import pyarrow.parquet as pq

    tables = [pq.read_table(part) for part in sorted(output.glob("part-*.parquet"))]
    found = np.concatenate([np.stack(table["embedding"].to_numpy()) for table in tables])
    encode = plain.encode_document if hasattr(plain, "encode_document") else plain.encode
    wanted = encode([_given(media, modality, index) for index in range(ROWS)], batch_size=4, show_progress_bar=False)
    assert found.shape == wanted.shape, f"{modality}: shape {found.shape}, where plain has {wanted.shape}"
    far = float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))
    assert far <= CLOSE, f"{modality}: off by {far:.1e}"
    between = float(np.abs(wanted - wanted[:1]).max())
    assert between > 100 * CLOSE, f"{modality}: all inputs have one vector, so that nothing is compared"
