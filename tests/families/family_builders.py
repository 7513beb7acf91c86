"""Tiny models of many families, built from their configs with random weights: the classes are the real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SPECIALS = (
    *("<pad>", "<s>", "</s>", "<unk>", "<mask>", "<image>", "<video>", "<|video|>", "<audio>", "<end>"),
    *("<img>", "</img>", "<IMG_CONTEXT>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"),
    *("<boi>", "<eoi>", "<boa>", "<eoa>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)
SENTENCES = ["find the red page with a blue circle", "a picture of noise", "page number", "0123456789 . : seconds"]
# What most decoders and vision towers are made of, and no larger.
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}


@dataclass(frozen=True)
class Family:
    """A row of the table."""

    name: str
    build: Callable[[Path], None]
    takes: tuple[str, ...]
    """Modalities that are trained, evaluated and encoded."""
    model: dict[str, Any]
    """Fields of the config's model section, besides the name."""
    kind: str
    """What it is: raw or finished."""
    rate: int = 16_000
    """Of the sounds it hears, in Hz."""


FAMILIES: list[Family] = []


def family(
    name: str,
    *takes: str,
    kind: str = "raw",
    rate: int = 16_000,
    **model: Any,
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register a builder, which writes a model into the folder it is given."""

    def register(build: Callable[[Path], None]) -> Callable[[Path], None]:
        FAMILIES.append(Family(name, build, takes, model, kind, rate))
        return build

    return register


def template(**tokens: str) -> str:
    """Return a chat template in which parts of these types stand as these tokens."""
    parts = "".join(f"{{% elif i['type'] == '{kind}' %}}{token}" for kind, token in tokens.items())
    return (
        "{% for m in messages %}{{ m['role'] }}: {% if m['content'] is string %}{{ m['content'] }}{% else %}"
        "{% for i in m['content'] %}{% if i['type'] == 'text' %}{{ i['text'] }}" + parts + "{% endif %}{% endfor %}"
        "{% endif %}<end>\n{% endfor %}"
    )


def tokenizer(chat: str | None = None, length: int = 4096, **more: Any) -> Any:
    """Return a byte-level tokenizer of a few hundred tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=len(SPECIALS) + 300,
            special_tokens=list(SPECIALS),
            show_progress=False,
            initial_alphabet=alphabet,
        ),
    )
    if chat is None:
        pair = [("<s>", core.token_to_id("<s>")), ("</s>", core.token_to_id("</s>"))]
        core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=pair)
    names = {
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        **names,
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=length,
        chat_template=chat,
        **more,
    )


def save(folder: Path, model: Any, *processors: Any) -> None:
    """Write a model, whose weights are drawn from one seed, and its processors."""
    torch.manual_seed(0)
    model.apply(model._init_weights)  # wide enough for inputs to be told apart
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.1)
    model.save_pretrained(str(folder))
    for processor in processors:
        processor.save_pretrained(str(folder))


def finish(folder: Path, pooling: str = "mean", size: int | None = None) -> None:
    """Make a finished embedding model of a raw one."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    raw = folder.with_name(f"{folder.name}-raw")
    folder.rename(raw)
    encoder = Transformer(str(raw))
    pool = Pooling(size or encoder.get_embedding_dimension(), pooling_mode=pooling)
    model = SentenceTransformer(modules=[encoder, pool, Normalize()], device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(raw)


# --- text


def _bert(folder: Path) -> None:
    from transformers import BertConfig, BertModel

    tok = tokenizer(length=64)
    sizes = dict(TOWER, max_position_embeddings=64)
    save(folder, BertModel(BertConfig(vocab_size=len(tok), pad_token_id=0, **sizes)), tok)


family("BERT", "text", pooling="mean")(_bert)


@family("BERT, finished", "text", kind="finished")
def _finished_bert(folder: Path) -> None:
    _bert(folder)
    finish(folder, "cls")


@family("ModernBERT", "text", pooling="cls")
def _modernbert(folder: Path) -> None:
    from transformers import ModernBertConfig, ModernBertModel

    tok = tokenizer(length=64)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    sizes = dict(TOWER, max_position_embeddings=128, local_attention=16)
    save(folder, ModernBertModel(ModernBertConfig(vocab_size=len(tok), **ids, **sizes)), tok)


@family("XLM-RoBERTa", "text", pooling="mean")
def _xlm_roberta(folder: Path) -> None:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    tok = tokenizer(length=64)
    config = XLMRobertaConfig(vocab_size=len(tok), pad_token_id=0, **dict(TOWER, max_position_embeddings=80))
    save(folder, XLMRobertaModel(config), tok)


@family("T5", "text", pooling="mean")
def _t5(folder: Path) -> None:
    from transformers import T5Config, T5Model

    tok = tokenizer(length=64)
    config = T5Config(vocab_size=len(tok), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, pad_token_id=0)
    save(folder, T5Model(config), tok)


@family("Qwen3", "text", pooling="lasttoken")
def _qwen3(folder: Path) -> None:
    from transformers import Qwen3Config, Qwen3Model

    tok = tokenizer(length=64, padding_side="left")
    save(folder, Qwen3Model(Qwen3Config(vocab_size=len(tok), head_dim=8, **DECODER)), tok)


@family("static embeddings", "text", kind="finished")
def _static(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    torch.manual_seed(0)
    module = StaticEmbedding(tokenizer().backend_tokenizer, embedding_dim=32)
    SentenceTransformer(modules=[module], device="cpu").save_pretrained(str(folder), create_model_card=False)


@family("word embeddings", "text", kind="finished")
def _words(folder: Path) -> None:
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    values = np.random.default_rng(0).normal(size=(len(words), 32)).astype(np.float32)
    modules = [WordEmbeddings(WhitespaceTokenizer(words, stop_words=[]), values, update_embeddings=True), Pooling(32)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


@family("router by side", "text", kind="finished")
def _router(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer

    raw = folder.with_name(f"{folder.name}-raw")
    _bert(raw)
    torch.manual_seed(0)
    query = [StaticEmbedding(tokenizer().backend_tokenizer, embedding_dim=32)]
    router = Router.for_query_document(query, [Transformer(str(raw)), Pooling(32)])
    SentenceTransformer(modules=[router], device="cpu").save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(raw)


@family("code of its own", "text", pooling="mean", trust_remote_code=True)
def _own_code(folder: Path) -> None:
    folder.mkdir()
    (folder / "modeling_own.py").write_text(OWN_CODE, encoding="utf-8")
    tok = tokenizer(length=64)
    config = {
        "model_type": "own",
        "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"},
        "vocab_size": len(tok),
        "hidden_size": 32,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file({"words.weight": torch.randn(len(tok), 32)}, str(folder / "model.safetensors"), {"format": "pt"})
    tok.save_pretrained(str(folder))


OWN_CODE = """from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, vocab_size=10, hidden_size=8, **more):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        super().__init__(**more)


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def _init_weights(self, module):
        pass

    def forward(self, input_ids=None, attention_mask=None, **more) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.words(input_ids))
"""


# --- images, alone and with text


def _tower(**more: Any) -> dict[str, Any]:
    return dict(TOWER, image_size=32, patch_size=8, **more)


def _words_of(tok: Any, **more: Any) -> dict[str, Any]:
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return dict(TOWER, vocab_size=len(tok), max_position_embeddings=64, **ids, **more)


@family("CLIP", "text", "image")
def _clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    tok = tokenizer(length=64)
    config = CLIPConfig(
        text_config=_words_of(tok, projection_dim=24), vision_config=_tower(projection_dim=24), projection_dim=24
    )
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    save(folder, CLIPModel(config), CLIPProcessor(images, tok))


@family("SigLIP", "text", "image")
def _siglip(folder: Path) -> None:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    tok = tokenizer(length=64)
    words = _words_of(tok, projection_size=32)
    images = SiglipImageProcessor(size={"height": 32, "width": 32})
    save(
        folder,
        SiglipModel(SiglipConfig(text_config=words, vision_config=_tower())),
        SiglipProcessor(images, tok),
    )


@family("SigLIP 2", "text", "image")
def _siglip2(folder: Path) -> None:
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model, Siglip2Processor

    tok = tokenizer(length=64)
    vision = dict(TOWER, num_patches=256, patch_size=16)  # those that its processor insists on
    config = Siglip2Config(text_config=_words_of(tok, projection_size=32), vision_config=vision)
    images = Siglip2ImageProcessor(patch_size=16, max_num_patches=256)
    save(folder, Siglip2Model(config), Siglip2Processor(images, tok))


@family("BLIP", "text", "image")
def _blip(folder: Path) -> None:
    from transformers import BlipConfig, BlipImageProcessor, BlipModel, BlipProcessor

    tok = tokenizer(length=64)
    words = _words_of(tok, encoder_hidden_size=32, projection_dim=24)
    config = BlipConfig(text_config=words, vision_config=_tower(projection_dim=24), projection_dim=24)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    save(folder, BlipModel(config), BlipProcessor(images, tok))


@family("ViT", "image", pooling="cls")
def _vit(folder: Path) -> None:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    save(folder, ViTModel(ViTConfig(**_tower())), ViTImageProcessor(size={"height": 32, "width": 32}))


@family("DINOv2", "image", pooling="cls")
def _dinov2(folder: Path) -> None:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    images = BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    save(folder, Dinov2Model(Dinov2Config(**_tower(mlp_ratio=2))), images)


# --- sounds


@family("CLAP", "text", "audio", kind="finished", rate=8000)
def _clap(folder: Path) -> None:
    from mmst_cli.model.load_model import find_model

    shutil.copytree(find_model("builtin:tiny-clap"), folder)


def _wave_sizes() -> dict[str, Any]:
    convolutions = {"conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (8, 8), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    return dict(TOWER, vocab_size=32, layerdrop=0.0, apply_spec_augment=False, **convolutions, **positions)


def _wave_processor() -> Any:
    from tempfile import TemporaryDirectory

    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({letter: index for index, letter in enumerate(letters)}), encoding="utf-8")
        tok = Wav2Vec2CTCTokenizer(str(path))
    return Wav2Vec2Processor(Wav2Vec2FeatureExtractor(return_attention_mask=True), tok)


@family("wav2vec 2.0", "audio", pooling="mean")
def _wav2vec2(folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    save(folder, Wav2Vec2Model(Wav2Vec2Config(**_wave_sizes())), _wave_processor())


@family("HuBERT", "audio", pooling="mean")
def _hubert(folder: Path) -> None:
    from transformers import HubertConfig, HubertModel

    save(folder, HubertModel(HubertConfig(**_wave_sizes())), _wave_processor())


@family("AST", "audio", pooling="cls")
def _ast(folder: Path) -> None:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    sizes = {"num_mel_bins": 16, "max_length": 64}
    strides = {"patch_size": 8, "frequency_stride": 8, "time_stride": 8}
    save(folder, ASTModel(ASTConfig(**TOWER, **sizes, **strides)), ASTFeatureExtractor(**sizes))


@family("Whisper", "audio", pooling="mean")
def _whisper(folder: Path) -> None:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 32, "vocab_size": 64, "max_source_positions": 50}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = WhisperConfig(num_mel_bins=80, max_target_positions=16, **layers, **heads, **ids)
    save(folder, WhisperModel(config), WhisperFeatureExtractor(chunk_length=1))
