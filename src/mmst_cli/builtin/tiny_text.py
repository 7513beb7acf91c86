"""`builtin:tiny-text`: a BERT of texts alone at under half a million parameters, with random weights.

BertModel, mean pooling and normalisation, as in sentence-transformers/all-MiniLM-L6-v2. Its tokenizer is trained on
the spot on queries about `builtin:pages`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mmst_cli.builtin import tiny_tokenizer
from mmst_cli.builtin.pages import sample_queries
from mmst_cli.builtin.tiny_tokenizer import END_ID, PAD_ID, START_ID, train_tokenizer
from mmst_cli.storage import build_folder, cache_folder, digest

if TYPE_CHECKING:
    from transformers import BertConfig

HIDDEN = 128  # embedding dimension
LAYERS, HEADS, MLP = 2, 4, 256
VOCABULARY, MAX_TOKENS = 1024, 128


def build_tiny_text(seed: int = 0) -> Path:
    """Return the model's folder, in the ordinary layout, building it at the first call."""
    import transformers

    sources = [Path(str(file)).read_text(encoding="utf-8") for file in (__file__, tiny_tokenizer.__file__)]
    content = digest(sources, transformers.__version__, seed)
    return build_folder(cache_folder() / f"tiny-text-{content}", lambda folder: _save(folder, seed))


def _save(folder: Path, seed: int) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertModel

    tokenizer = train_tokenizer(sample_queries(3000), VOCABULARY, MAX_TOKENS)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as parts:
        torch.manual_seed(seed)
        BertModel(_model_config(len(tokenizer))).save_pretrained(parts)
        tokenizer.save_pretrained(parts)
        # Said here, since the tokenizer's file keeps it: otherwise it depends on whether one works offline.
        transformer = Transformer(parts, processor_kwargs={"local_files_only": True})
        modules = [transformer, Pooling(HIDDEN, pooling_mode="mean"), Normalize()]
        # Made on the CPU, so that the folder is the same whatever device is there.
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def _model_config(vocabulary: int) -> BertConfig:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=MLP,
        max_position_embeddings=MAX_TOKENS,
        # So small a model has nothing to spare.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        # As the tokenizer has them, or training would align them and warn of it.
        pad_token_id=PAD_ID,
        bos_token_id=START_ID,
        eos_token_id=END_ID,
    )
