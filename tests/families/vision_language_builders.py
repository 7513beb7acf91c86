"""Tiny models that take images, sounds or clips inside messages, each with the processor of its family."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from family_builders import DECODER, TOWER, family, finish, save, template, tokenizer


def _decoder(tok: Any, kind: str = "llama", **more: Any) -> dict[str, Any]:
    return dict(DECODER, model_type=kind, vocab_size=len(tok), **more)


@family("Qwen3-VL", "text", "image", "video", kind="finished")
def _qwen3_vl(folder: Path) -> None:
    from mmst_cli.model.load_model import find_model

    shutil.copytree(find_model("builtin:tiny-qwen3-vl"), folder)


def _qwen_tokens(chat: str) -> Any:
    names = {
        "image_token": "<image>",
        "video_token": "<video>",
        "vision_bos_token": "<img>",
        "vision_eos_token": "</img>",
    }
    return tokenizer(chat, extra_special_tokens=names)


def _qwen_ids(tok: Any) -> dict[str, int]:
    tokens = {"image_token_id": "<image>", "video_token_id": "<video>"}
    tokens |= {"vision_start_token_id": "<img>", "vision_end_token_id": "</img>"}
    return {name: tok.convert_tokens_to_ids(token) for name, token in tokens.items()}


_QWEN_CHAT = template(image="<img><image></img>", video="<img><video></img>")
_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}


@family("Qwen2-VL", "text", "image", "video", pooling="lasttoken")
def _qwen2_vl(folder: Path) -> None:
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLImageProcessor,
        Qwen2VLModel,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    tok = _qwen_tokens(_QWEN_CHAT)
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "patch_size": 8}
    config = Qwen2VLConfig(text_config=_decoder(tok, "qwen2_vl_text", rope_parameters=_ROPE), vision_config=vision)
    for name, value in _qwen_ids(tok).items():
        setattr(config, name, value)
    sizes = {"patch_size": 8, "size": {"shortest_edge": 256, "longest_edge": 64 * 64}}
    parts = Qwen2VLImageProcessor(**sizes), tok, Qwen2VLVideoProcessor(**sizes)
    save(folder, Qwen2VLModel(config), Qwen2VLProcessor(*parts, chat_template=_QWEN_CHAT))


@family("Qwen2.5-VL", "text", "image", "video", pooling="lasttoken")
def _qwen2_5_vl(folder: Path) -> None:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLModel,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tok = _qwen_tokens(_QWEN_CHAT)
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "patch_size": 8,
        "out_hidden_size": 32,
    }
    vision |= {"window_size": 32, "fullatt_block_indexes": [0]}
    config = Qwen2_5_VLConfig(text_config=_decoder(tok, "qwen2_5_vl_text", rope_parameters=_ROPE), vision_config=vision)
    for name, value in _qwen_ids(tok).items():
        setattr(config, name, value)
    sizes = {"patch_size": 8, "size": {"shortest_edge": 256, "longest_edge": 64 * 64}}
    parts = Qwen2VLImageProcessor(**sizes), tok, Qwen2VLVideoProcessor(**sizes)
    save(folder, Qwen2_5_VLModel(config), Qwen2_5_VLProcessor(*parts, chat_template=_QWEN_CHAT))


_TILED_CHAT = template(image="<image>", video="<video>")


@family("Idefics3", "text", "image", pooling="mean")
def _idefics3(folder: Path) -> None:
    from transformers import Idefics3Config, Idefics3ImageProcessor, Idefics3Model, Idefics3Processor

    images = Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    tok = tokenizer(_TILED_CHAT.replace("<end>", "<end_of_utterance>"))
    processor = Idefics3Processor(images, tok, image_seq_len=4, chat_template=tok.chat_template)
    config = Idefics3Config(
        text_config=_decoder(processor.tokenizer),
        vision_config=dict(TOWER, image_size=32, patch_size=8),
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=0,
    )
    save(folder, Idefics3Model(config), processor)


@family("SmolVLM", "text", "image", "video", pooling="mean")
def _smolvlm(folder: Path) -> None:
    from transformers import SmolVLMConfig, SmolVLMImageProcessor, SmolVLMModel, SmolVLMProcessor, SmolVLMVideoProcessor
    from transformers.models.smolvlm import processing_smolvlm

    # The package is wanted for the number words of a chat about clips, of which there is none here.
    processing_smolvlm.num2words = processing_smolvlm.num2words or str
    names = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
    }
    names |= {"end_of_utterance_token": "<end_of_utterance>", "video_token": "<video>"}
    chat = _TILED_CHAT.replace("<end>", "<end_of_utterance>")
    tok = tokenizer(chat, extra_special_tokens=names)
    edges = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    sampling = {"max_frames": 8, "fps": 2, "video_size": {"longest_edge": 32}}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(**edges),
        tok,
        SmolVLMVideoProcessor(max_image_size={"longest_edge": 32}, do_sample_frames=True, video_sampling=sampling),
        image_seq_len=4,
        chat_template=chat,
    )
    config = SmolVLMConfig(
        text_config=_decoder(tok),
        vision_config=dict(TOWER, image_size=32, patch_size=8),
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    save(folder, SmolVLMModel(config), processor)


@family("InternVL", "text", "image", "video", pooling="mean")
def _internvl(folder: Path) -> None:
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLModel,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    chat = template(image="<IMG_CONTEXT>\n", video="<video>\n")
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tok = tokenizer(chat, extra_special_tokens=names | {"video_token": "<video>"})
    config = InternVLConfig(
        text_config=_decoder(tok, "qwen2"),
        vision_config=dict(TOWER, image_size=[32, 32], patch_size=[8, 8]),
        image_token_id=tok.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    square = {"size": {"height": 32, "width": 32}}
    parts = (
        GotOcr2ImageProcessor(crop_to_patches=True, max_patches=4, **square),
        tok,
        InternVLVideoProcessor(**square),
    )
    save(folder, InternVLModel(config), InternVLProcessor(*parts, image_seq_length=4, chat_template=chat))


@family("LLaVA-OneVision", "text", "image", "video", pooling="lasttoken")
def _llava_onevision(folder: Path) -> None:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionModel,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    tok = tokenizer(_TILED_CHAT)
    pinpoints = [[32, 32], [32, 64], [64, 32], [64, 64]]
    config = LlavaOnevisionConfig(
        text_config=_decoder(tok, "qwen2"),
        vision_config=dict(TOWER, model_type="siglip_vision_model", image_size=32, patch_size=8),
        image_token_index=tok.convert_tokens_to_ids("<image>"),
        video_token_index=tok.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1,
    )
    square = {"size": {"height": 32, "width": 32}}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(image_grid_pinpoints=pinpoints, **square),
        tok,
        LlavaOnevisionVideoProcessor(**square),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=_TILED_CHAT,
        image_token="<image>",
        video_token="<video>",
    )
    save(folder, LlavaOnevisionModel(config), processor)


@family("PaliGemma", "text with image", pooling="mean")
def _paligemma(folder: Path) -> None:
    from transformers import PaliGemmaConfig, PaliGemmaModel, PaliGemmaProcessor, SiglipImageProcessor

    tok = tokenizer(extra_special_tokens={"image_token": "<image>"})
    images = SiglipImageProcessor(size={"height": 32, "width": 32}, image_seq_length=16)
    processor = PaliGemmaProcessor(images, tok)
    text = _decoder(processor.tokenizer, "gemma", head_dim=8)
    vision = dict(TOWER, model_type="siglip_vision_model", image_size=32, patch_size=8, vision_use_head=False)
    token = processor.tokenizer.convert_tokens_to_ids("<image>")
    config = PaliGemmaConfig(text_config=text, vision_config=vision, image_token_index=token, projection_dim=32)
    save(folder, PaliGemmaModel(config), processor)


@family("Qwen2-Audio", "text", "audio", pooling="lasttoken")
def _qwen2_audio(folder: Path) -> None:
    from transformers import Qwen2AudioConfig, Qwen2AudioModel, Qwen2AudioProcessor, WhisperFeatureExtractor

    chat = template(audio="<audio>")
    tok = tokenizer(chat)
    config = Qwen2AudioConfig(
        text_config=_decoder(tok, "qwen2"),
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "d_model": 32,
            "encoder_layers": 1,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "max_source_positions": 1500,  # of 30 s, which the processor fills up
            "num_mel_bins": 80,
        },
        audio_token_index=tok.convert_tokens_to_ids("<audio>"),
    )
    names = {"audio_token": "<audio>", "audio_bos_token": "<boa>", "audio_eos_token": "<eoa>"}
    processor = Qwen2AudioProcessor(WhisperFeatureExtractor(), tok, chat_template=chat, **names)
    save(folder, Qwen2AudioModel(config), processor)


_GEMMA_CHAT = template(image="<image>", audio="<audio>", video="<|video|>")


def _gemma_tokens() -> Any:
    names = {"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
    names |= {"audio_token": "<audio>", "boa_token": "<boa>", "eoa_token": "<eoa>", "video_token": "<|video|>"}
    return tokenizer(_GEMMA_CHAT, extra_special_tokens=names, padding_side="left")


def _gemma_towers() -> dict[str, Any]:
    vision = dict(TOWER, model_type="gemma4_vision", num_key_value_heads=4, head_dim=8, patch_size=4)
    vision |= {"pooling_kernel_size": 2, "position_embedding_size": 256}
    audio = {"model_type": "gemma4_audio", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    audio |= {"output_proj_dims": 32, "subsampling_conv_channels": [128, 4]}
    return {"vision_config": vision, "audio_config": audio}


def _gemma_ids(tok: Any) -> dict[str, int]:
    tokens = {
        "boi_token_id": "<boi>",
        "eoi_token_id": "<eoi>",
        "image_token_id": "<image>",
        "video_token_id": "<|video|>",
    }
    tokens |= {"boa_token_id": "<boa>", "eoa_token_index": "<eoa>", "audio_token_id": "<audio>"}
    return {name: tok.convert_tokens_to_ids(token) for name, token in tokens.items()}


_GEMMA_PATCHES = {"patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70}


def _embedding_gemma2(folder: Path) -> None:
    from transformers import (
        EmbeddingGemma2Config,
        EmbeddingGemma2Model,
        EmbeddingGemma2Processor,
        Gemma4AudioFeatureExtractor,
        Gemma4ImageProcessor,
    )
    from transformers.models.embedding_gemma2.video_processing_embedding_gemma2 import EmbeddingGemma2VideoProcessor

    tok = _gemma_tokens()
    text = dict(DECODER, vocab_size=len(tok), head_dim=8, global_head_dim=16, hidden_size_per_layer_input=8)
    text |= {"embedding_dim": 48, "layer_types": ["full_attention"]}
    config = EmbeddingGemma2Config(text_config=text, **_gemma_towers(), **_gemma_ids(tok))
    parts = (
        Gemma4AudioFeatureExtractor(),
        Gemma4ImageProcessor(**_GEMMA_PATCHES),
        tok,
        EmbeddingGemma2VideoProcessor(**_GEMMA_PATCHES),
    )
    save(folder, EmbeddingGemma2Model(config), EmbeddingGemma2Processor(*parts, chat_template=_GEMMA_CHAT))


family("EmbeddingGemma 2", "text", "image", "audio", "video", pooling="mean")(_embedding_gemma2)


@family("EmbeddingGemma 2, finished", "text", "image", "audio", "video", kind="finished")
def _finished_embedding_gemma2(folder: Path) -> None:
    _embedding_gemma2(folder)
    finish(folder, "mean", size=48)


@family("Gemma 4", "text", "image", "video", pooling="lasttoken")
def _gemma4(folder: Path) -> None:
    from transformers import (
        Gemma4AudioFeatureExtractor,
        Gemma4Config,
        Gemma4ImageProcessor,
        Gemma4Model,
        Gemma4Processor,
        Gemma4VideoProcessor,
    )

    tok = _gemma_tokens()
    text = dict(DECODER, vocab_size=len(tok), vocab_size_per_layer_input=len(tok), head_dim=8, global_head_dim=16)
    text |= {"hidden_size_per_layer_input": 8, "layer_types": ["full_attention"], "num_kv_shared_layers": 0}
    config = Gemma4Config(text_config=text, **_gemma_towers(), **_gemma_ids(tok))
    parts = (
        Gemma4AudioFeatureExtractor(),
        Gemma4ImageProcessor(**_GEMMA_PATCHES),
        tok,
        Gemma4VideoProcessor(num_frames=8, **_GEMMA_PATCHES),  # as many as the clips have at least
    )
    save(folder, Gemma4Model(config), Gemma4Processor(*parts, chat_template=_GEMMA_CHAT))


@family("VideoMAE", "video", pooling="mean")
def _videomae(folder: Path) -> None:
    from transformers import VideoMAEConfig, VideoMAEModel, VideoMAEVideoProcessor

    config = VideoMAEConfig(**TOWER, image_size=32, patch_size=8, num_frames=8, tubelet_size=2)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    save(folder, VideoMAEModel(config), VideoMAEVideoProcessor(num_frames=8, do_sample_frames=True, **sizes))


@family("V-JEPA 2", "video", pooling="mean")
def _vjepa2(folder: Path) -> None:
    from transformers import VJEPA2Config, VJEPA2Model, VJEPA2VideoProcessor

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 2}
    predictor = {
        "pred_hidden_size": 24,
        "pred_num_attention_heads": 2,
        "pred_num_hidden_layers": 1,
        "pred_mlp_ratio": 2,
    }
    config = VJEPA2Config(crop_size=32, patch_size=8, frames_per_clip=8, tubelet_size=2, **sizes, **predictor)
    save(
        folder,
        VJEPA2Model(config),
        VJEPA2VideoProcessor(crop_size={"height": 32, "width": 32}, size={"shortest_edge": 32}),
    )
