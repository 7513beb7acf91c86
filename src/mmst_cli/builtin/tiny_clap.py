"""`builtin:tiny-clap`: a CLAP of under a million parameters, for text and sound, with random weights.

The same classes as laion/clap-htsat-unfused: ClapModel (a RoBERTa for text, a Swin Transformer for mel spectrograms)
and its processor. Only the sizes differ, and the tokenizer is trained on the spot on texts of `builtin:sounds`.
It hears one second at 8 kHz: shorter sounds are padded with silence; of longer ones CLAP takes a second at random,
at every encoding another one, so cut them before (`media.max_seconds: 1`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.builtin import sounds
from mmst_cli.builtin.sound_synthesis import RATE
from mmst_cli.builtin.sounds import sample_queries
from mmst_cli.storage import build_folder, cache_folder, digest

if TYPE_CHECKING:
    from transformers import ClapConfig, ClapProcessor, PreTrainedTokenizerFast

DIMENSION = 128  # of the embedding
TEXT_HIDDEN, TEXT_LAYERS, TEXT_HEADS = 64, 2, 4
SPECTROGRAM = 32  # mel bands, and frames of a second
HOP, WINDOW = 258, 512  # samples; frames at this distance are just as many as fit the spectrogram
PATCH, STRIDE = 8, 4  # bands and frames; patches overlap by half
AUDIO_HIDDEN = 32  # of the first stage; doubles with every stage, while the grid of patches halves
STAGES = 3
ATTENTION_WINDOW = 2  # patches; not above the last stage's grid, or the forward pass fails
LOWEST_PITCH = 40  # hertz
VOCABULARY = 600
MAX_TOKENS = 62
INITIALISATION = 2.0  # with 1.0, so small a model hardly leaves its start
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]  # with the ids of RoBERTa's, which CLAP's text model expects


def build_tiny_clap(seed: int = 0) -> Path:
    """Return the model's folder, in the ordinary layout, building it at the first call."""
    import transformers

    source = [Path(file).read_text(encoding="utf-8") for file in (__file__, sounds.__file__)]
    content = digest(source, transformers.__version__, seed)
    return build_folder(cache_folder() / f"tiny-clap-{content}", lambda folder: _save(folder, seed))


def _save(folder: Path, seed: int) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Transformer
    from transformers import ClapModel

    tokenizer = _train_tokenizer()
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as parts:
        torch.manual_seed(seed)
        ClapModel(_model_config(tokenizer)).save_pretrained(parts)
        _processor(tokenizer).save_pretrained(parts)
        # Once it has cut a text, a tokenizer is saved with its limit, and a processor that is loaded with such a one
        # cuts sounds by it too: at 62 samples. What is said here goes before that.
        transformer = Transformer(parts, processing_kwargs={"audio": {"max_length": RATE}})
        # Made on the CPU, so that the folder is the same whatever device is there.
        modules = [transformer, Normalize()]
        model = SentenceTransformer(modules=modules, device="cpu", similarity_fn_name="cosine")
        model.save_pretrained(str(folder), create_model_card=False)


def _train_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE like RoBERTa's: bytes make it total, so that no token is unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(sample_queries(2000), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=MAX_TOKENS,
    )


def _model_config(tokenizer: PreTrainedTokenizerFast) -> ClapConfig:
    from transformers import ClapConfig

    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_HIDDEN,
        "intermediate_size": 2 * TEXT_HIDDEN,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": TEXT_HEADS,
        "max_position_embeddings": MAX_TOKENS + 2,  # RoBERTa counts positions from the padding token's id on
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_factor": INITIALISATION,
    }
    audio: dict[str, Any] = {
        "spec_size": SPECTROGRAM,
        "num_mel_bins": SPECTROGRAM,
        "patch_size": PATCH,
        "patch_stride": [STRIDE, STRIDE],
        "window_size": ATTENTION_WINDOW,
        "patch_embeds_hidden_size": AUDIO_HIDDEN,
        "hidden_size": AUDIO_HIDDEN * 2 ** (STAGES - 1),
        "depths": [1] * STAGES,
        "num_attention_heads": [2 * 2**stage for stage in range(STAGES)],
        "num_hidden_layers": STAGES,  # scales the initialisation, whatever `depths` says
        "mlp_ratio": 2.0,
        "hidden_dropout_prob": 0.0,
        "initializer_factor": INITIALISATION,
    }
    return ClapConfig(text_config=text, audio_config=audio, projection_dim=DIMENSION)


def _processor(tokenizer: PreTrainedTokenizerFast) -> ClapProcessor:
    from transformers import ClapFeatureExtractor, ClapProcessor

    extractor = ClapFeatureExtractor(
        feature_size=SPECTROGRAM,
        sampling_rate=RATE,
        hop_length=HOP,
        fft_window_size=WINDOW,
        max_length_s=1,
        frequency_min=LOWEST_PITCH,
        frequency_max=RATE // 2,  # above it, mel bands would stay empty
        truncation="rand_trunc",  # the one way without a second network for long sounds
        padding="pad",
    )
    return ClapProcessor(extractor, tokenizer)
