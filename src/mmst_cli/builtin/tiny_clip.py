"""`builtin:tiny-clip`: a CLIP of texts and images at half a million parameters, with random weights.

The classes of openai/clip-vit-base-patch32 (CLIPModel and its processor), followed by normalisation. Its tokenizer
is trained on the spot on queries about `builtin:pages`. CLIP's images are square, so that pages are squeezed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.builtin import tiny_tokenizer
from mmst_cli.builtin.page_drawing import HEIGHT, WIDTH
from mmst_cli.builtin.pages import sample_queries
from mmst_cli.builtin.tiny_tokenizer import END_ID, PAD_ID, START_ID, train_tokenizer
from mmst_cli.storage import build_folder, cache_folder, digest

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPImageProcessor

HIDDEN = 128  # embedding dimension
LAYERS, HEADS, MLP = 2, 4, 256
VISION_HIDDEN, VISION_DEPTH, VISION_HEADS, VISION_MLP = 64, 2, 4, 128
PATCH = 16  # pixels
SIDE = max(WIDTH, HEIGHT)  # pixels of an image, both ways
VOCABULARY, MAX_TOKENS = 1024, 64


def build_tiny_clip(seed: int = 0) -> Path:
    """Return the model's folder, in the ordinary layout, building it at the first call."""
    import transformers

    sources = [Path(str(file)).read_text(encoding="utf-8") for file in (__file__, tiny_tokenizer.__file__)]
    content = digest(sources, transformers.__version__, seed)
    return build_folder(cache_folder() / f"tiny-clip-{content}", lambda folder: _save(folder, seed))


def _save(folder: Path, seed: int) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Transformer
    from transformers import CLIPModel, CLIPProcessor

    tokenizer = train_tokenizer(sample_queries(3000), VOCABULARY, MAX_TOKENS)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as parts:
        torch.manual_seed(seed)
        CLIPModel(_model_config(len(tokenizer))).save_pretrained(parts)
        CLIPProcessor(image_processor=_image_processor(), tokenizer=tokenizer).save_pretrained(parts)
        # Said here, since the tokenizer's file keeps it: otherwise it depends on whether one works offline.
        transformer = Transformer(parts, processor_kwargs={"local_files_only": True})
        modules = [transformer, Normalize()]
        # Made on the CPU, so that the folder is the same whatever device is there.
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def _model_config(vocabulary: int) -> CLIPConfig:
    from transformers import CLIPConfig

    text: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": MAX_TOKENS,
        "pad_token_id": PAD_ID,
        "bos_token_id": START_ID,
        "eos_token_id": END_ID,  # the token whose vector stands for the text
    }
    vision: dict[str, Any] = {
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": VISION_MLP,
        "num_hidden_layers": VISION_DEPTH,
        "num_attention_heads": VISION_HEADS,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=HIDDEN)


def _image_processor() -> CLIPImageProcessor:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
