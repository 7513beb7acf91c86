"""`builtin:tiny-qwen3-vl`: the reference's architecture at under a million parameters, with random weights.

The same classes as Qwen/Qwen3-VL-Embedding-2B: Qwen3VLModel and its processor (byte-level BPE, image and
video processors, chat template), last-token pooling, normalisation. Only the sizes differ, and the tokenizer
is trained on the spot on queries about `builtin:pages`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.data.page_drawing import HEIGHT, WIDTH
from mmst_cli.data.pages import sample_queries
from mmst_cli.storage import build_folder, cache_folder, digest

if TYPE_CHECKING:
    from transformers import Qwen2TokenizerFast, Qwen3VLConfig, Qwen3VLProcessor

HIDDEN = 128  # embedding dimension
LAYERS, HEADS, KEY_VALUE_HEADS, MLP = 2, 4, 2, 256
VISION_HIDDEN, VISION_DEPTH, VISION_HEADS, VISION_MLP = 64, 2, 4, 128
PATCH, MERGE, TEMPORAL_PATCH = 16, 2, 2  # pixels, patches, frames; as in the 2B model
POSITION_GRID = 8  # learned position table of 8 x 8, interpolated to the patches of a page
VOCABULARY = 1024
MIN_PIXELS, MAX_PIXELS = 16 * 16, WIDTH * HEIGHT

SPECIAL_TOKENS = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]

# Qwen3-VL's template without tools and thinking. Its `'type'` look-ups are what sentence-transformers infers
# the structured message format from.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for item in message['content'] -%}"
    "{%- if item['type'] == 'image' or 'image' in item or 'image_url' in item -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif item['type'] == 'video' or 'video' in item -%}"
    "{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}"
    "{%- elif 'text' in item -%}{{- item['text'] -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
_WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tiny_qwen3vl(seed: int = 0) -> Path:
    """Return the model's folder, in the ordinary layout, building it at the first call."""
    import transformers

    content = digest(Path(__file__).read_text(encoding="utf-8"), transformers.__version__, seed)
    return build_folder(cache_folder() / f"tiny-qwen3-vl-{content}", lambda folder: _save(folder, seed))


def _save(folder: Path, seed: int) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import Qwen3VLModel

    tokenizer = _train_tokenizer()
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as parts:
        torch.manual_seed(seed)
        Qwen3VLModel(_model_config(tokenizer)).save_pretrained(parts)
        _processor(tokenizer).save_pretrained(parts)
        transformer = Transformer(parts, processing_kwargs={"chat_template": {"add_generation_prompt": True}})
        modules = [transformer, Pooling(HIDDEN, pooling_mode="lasttoken"), Normalize()]
        # Made on the CPU, so that the folder is the same whatever device is there.
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def _train_tokenizer() -> Qwen2TokenizerFast:
    """Train a byte-level BPE like Qwen's: bytes make it total, so that there is no unknown token."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = [*sample_queries(3000), "system\nuser\nassistant\n", "Represent the user's input."]
    tokenizer.train_from_iterator(texts, trainer)
    return Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        bos_token=None,
        additional_special_tokens=SPECIAL_TOKENS[1:],
        padding_side="right",
        model_max_length=32768,
    )


def _model_config(tokenizer: Qwen2TokenizerFast) -> Qwen3VLConfig:
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
    }
    vision: dict[str, Any] = {
        "depth": VISION_DEPTH,
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": VISION_MLP,
        "num_heads": VISION_HEADS,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": TEMPORAL_PATCH,
        "out_hidden_size": HIDDEN,
        "num_position_embeddings": POSITION_GRID**2,
        "deepstack_visual_indexes": [0],
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


def _processor(tokenizer: Qwen2TokenizerFast) -> Qwen3VLProcessor:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    geometry: dict[str, Any] = {
        "patch_size": PATCH,
        "merge_size": MERGE,
        "temporal_patch_size": TEMPORAL_PATCH,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**geometry),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**geometry),
        chat_template=CHAT_TEMPLATE,
    )
