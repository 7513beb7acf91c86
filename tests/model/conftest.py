"""Raw checkpoints of transformers."""

import shutil

import pytest


def strip(finished, folder):
    """Copy a finished model without what sentence-transformers adds: a raw checkpoint is left."""
    kept = shutil.ignore_patterns("modules.json", "*sentence*", "[0-9]_*")
    return shutil.copytree(finished, folder, ignore=kept)


@pytest.fixture(scope="session")
def raw_bert(tmp_path_factory):
    """A text encoder without pooling."""
    from mmst_cli.builtin.tiny_text import build_tiny_text

    return strip(build_tiny_text(), tmp_path_factory.mktemp("raw") / "bert")


@pytest.fixture(scope="session")
def raw_clip(tmp_path_factory):
    """A dual encoder that pools by itself."""
    from mmst_cli.builtin.tiny_clip import build_tiny_clip

    return strip(build_tiny_clip(), tmp_path_factory.mktemp("raw") / "clip")


@pytest.fixture(scope="session")
def raw_qwen(tmp_path_factory, tiny_model_path):
    """A vision-language model with a chat template."""
    return strip(tiny_model_path, tmp_path_factory.mktemp("raw") / "qwen")


@pytest.fixture(scope="session")
def raw_vit(tmp_path_factory):
    """An image encoder whose processor is an image processor alone."""
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    folder = tmp_path_factory.mktemp("raw") / "vit"
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ViTModel(ViTConfig(image_size=32, patch_size=16, **sizes)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
