"""`builtin:tiny-qwen3-vl` and `builtin:tiny-qwen3-vl-video`: the reference's architecture at under a million
parameters, with random weights.

The same classes as Qwen/Qwen3-VL-Embedding-2B: Qwen3VLModel and its processor (byte-level BPE, image and
video processors, chat template), last-token pooling, normalisation. Only the sizes differ, and the tokenizer
is trained on the spot on queries about `builtin:pages` or `builtin:clips`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.builtin import clips, pages, tiny_qwen3vl_tokenizer
from mmst_cli.builtin.clip_drawing import FPS, FRAMES, SIDE
from mmst_cli.builtin.page_drawing import HEIGHT, WIDTH
from mmst_cli.builtin.tiny_qwen3vl_tokenizer import CHAT_TEMPLATE, train_tokenizer
from mmst_cli.storage import build_folder, cache_folder, digest

if TYPE_CHECKING:
    from transformers import Qwen2TokenizerFast, Qwen3VLConfig, Qwen3VLProcessor

HIDDEN = 128  # embedding dimension
LAYERS, HEADS, KEY_VALUE_HEADS, MLP = 2, 4, 2, 256
VISION_HIDDEN, VISION_DEPTH, VISION_HEADS, VISION_MLP = 64, 2, 4, 128
MERGE = 2  # patches
MIN_PIXELS = 16 * 16


@dataclass(frozen=True)
class _Variant:
    """What a model for pages and one for clips differ in."""

    name: str
    write_queries: Callable[[int], Iterable[str]]
    """Texts for the tokenizer to learn its words from."""
    patch: int
    """Pixels, in width and height."""
    temporal_patch: int
    """Frames."""
    position_grid: int
    """Side of the learned position table, which is interpolated to the patches of an input."""
    max_pixels: int
    """Of a whole input, in frames x height x width."""
    mean: float = 0.5
    std: float = 0.5
    initializer_range: float = 0.02
    """Standard deviation of the random weights."""
    video: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the video processor."""


# Patches as in the 2B model.
_PAGES = _Variant(
    name="tiny-qwen3-vl",
    write_queries=pages.sample_queries,
    patch=16,
    temporal_patch=2,
    position_grid=8,
    max_pixels=WIDTH * HEIGHT,
)
# A whole clip lies in one temporal patch, so that the first layer sees movement. Mean and deviation are about those
# of the clips, and the weights begin larger: with the values for pages it learns far more slowly.
_CLIPS = _Variant(
    name="tiny-qwen3-vl-video",
    write_queries=lambda count: [*clips.sample_queries(count), *[_time_stamp()] * 200],
    patch=8,
    temporal_patch=FRAMES,
    position_grid=SIDE // 8,
    max_pixels=FRAMES * SIDE * SIDE,
    mean=0.15,
    std=0.3,
    initializer_range=0.05,
    video={"do_sample_frames": False, "cap_pixels_per_frame": False},
)


def build_tiny_qwen3vl(seed: int = 0) -> Path:
    """Return the folder of the model for pages, in the ordinary layout, building it at the first call."""
    return _build(_PAGES, seed)


def build_tiny_qwen3vl_video(seed: int = 0) -> Path:
    """Return the folder of the model for clips, in the ordinary layout, building it at the first call.

    It takes every frame that it is given, 8 at least, in groups of 8 (a last one is filled up with its last frame),
    and scales frames down until all of a clip have no more pixels than 8 frames of 32x32.
    """
    return _build(_CLIPS, seed)


def _build(variant: _Variant, seed: int) -> Path:
    import transformers

    texts = _texts(variant.write_queries)
    source = [Path(file).read_text(encoding="utf-8") for file in (__file__, tiny_qwen3vl_tokenizer.__file__)]
    content = digest(source, transformers.__version__, texts, seed)
    return build_folder(
        cache_folder() / f"{variant.name}-{content}", lambda folder: _save(folder, variant, texts, seed)
    )


@cache  # a command asks for the folder several times
def _texts(write_queries: Callable[[int], Iterable[str]]) -> list[str]:
    """Return what the tokenizer learns its words from."""
    return [*write_queries(3000), "system\nuser\nassistant\n", "Represent the user's input."]


def _time_stamp() -> str:
    """Return what the processor writes before a group of frames: the middle of its time, in seconds.

    A tokenizer that never saw it would take it letter by letter.
    """
    return f"<{(FRAMES - 1) / 2 / FPS:.1f} seconds>"


def _save(folder: Path, variant: _Variant, texts: list[str], seed: int) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import Qwen3VLModel

    tokenizer = train_tokenizer(texts)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as parts:
        torch.manual_seed(seed)
        Qwen3VLModel(_model_config(variant, tokenizer)).save_pretrained(parts)
        _processor(variant, tokenizer).save_pretrained(parts)
        transformer = Transformer(parts, processing_kwargs={"chat_template": {"add_generation_prompt": True}})
        modules = [transformer, Pooling(HIDDEN, pooling_mode="lasttoken"), Normalize()]
        # Made on the CPU, so that the folder is the same whatever device is there.
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def _model_config(variant: _Variant, tokenizer: Qwen2TokenizerFast) -> Qwen3VLConfig:
    from transformers import Qwen3VLConfig

    token = tokenizer.convert_tokens_to_ids
    head_dim = HIDDEN // HEADS
    spatial = head_dim // 2 * 5 // 16  # mRoPE sections (time, height, width) sum to head_dim / 2
    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_interleaved": True,
        "mrope_section": [head_dim // 2 - 2 * spatial, spatial, spatial],
    }
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": head_dim,
        "max_position_embeddings": 32768,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": rope,
        "initializer_range": variant.initializer_range,
    }
    vision: dict[str, Any] = {
        "depth": VISION_DEPTH,
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": VISION_MLP,
        "num_heads": VISION_HEADS,
        "patch_size": variant.patch,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": variant.temporal_patch,
        "out_hidden_size": HIDDEN,
        "num_position_embeddings": variant.position_grid**2,
        "deepstack_visual_indexes": [0],
        "initializer_range": variant.initializer_range,
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def _processor(variant: _Variant, tokenizer: Qwen2TokenizerFast) -> Qwen3VLProcessor:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    geometry: dict[str, Any] = {
        "patch_size": variant.patch,
        "merge_size": MERGE,
        "temporal_patch_size": variant.temporal_patch,
        "image_mean": [variant.mean] * 3,
        "image_std": [variant.std] * 3,
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": variant.max_pixels},
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**geometry),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**geometry, **variant.video),
        chat_template=CHAT_TEMPLATE,
    )
