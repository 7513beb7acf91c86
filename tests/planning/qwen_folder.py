"""A Qwen3-VL folder without weights, of any size, and how many parameters it has by its architecture's own account."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl

TEXT_2B = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
VISION_2B = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [5, 11, 17],
}


def write_folder(folder: Path, text: dict, vision: dict) -> Path:
    """Write config, processor and tokenizer of a model, and no weights."""
    shutil.copytree(build_tiny_qwen3vl(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= text
    config["text_config"].pop("layer_types", None)
    half = config["text_config"]["head_dim"] // 2
    side = half * 5 // 16
    config["text_config"]["rope_parameters"]["mrope_section"] = [half - 2 * side, side, side]
    config["vision_config"] |= vision
    config["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config))
    for path in folder.glob("*_Pooling/config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"embedding_dimension": text["hidden_size"]}))
    return folder


def parameters_of(folder: Path) -> int:
    """Return how many parameters a Qwen3-VL encoder has, summed up from its sizes layer by layer."""
    config = json.loads((folder / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    h, mlp, d = text["hidden_size"], text["intermediate_size"], text["head_dim"]
    queries, keys = d * text["num_attention_heads"], d * text["num_key_value_heads"]
    attention = h * queries + 2 * h * keys + queries * h + 2 * d  # q, k, v, o without bias; norms of q and k
    language = text["vocab_size"] * h + text["num_hidden_layers"] * (attention + 3 * h * mlp + 2 * h) + h
    v, wide, out, patch = (
        vision[name] for name in ("hidden_size", "intermediate_size", "out_hidden_size", "patch_size")
    )
    merged = v * vision["spatial_merge_size"] ** 2
    block = (3 * v * v + 3 * v) + (v * v + v) + (v * wide + wide) + (wide * v + v) + 2 * 2 * v
    patches = 3 * vision["temporal_patch_size"] * patch * patch * v + v
    joined = (merged * merged + merged) + (merged * out + out)
    deep = len(vision["deepstack_visual_indexes"]) * (joined + 2 * merged)  # normalised after merging
    tower = patches + vision["num_position_embeddings"] * v + vision["depth"] * block + (joined + 2 * v) + deep
    return language + tower
