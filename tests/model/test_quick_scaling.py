"""Images scaled from Pillow's memory: the same features, of sizes that come again, where a processor just scales."""

import pytest
import torch
from all_families import FAMILIES, build

from mmst_cli.config.schema import MediaConfig, Modality, ModelConfig
from mmst_cli.media.input_digest import digest_of_input, digest_of_whole
from mmst_cli.media.reading import Reader
from mmst_cli.model import large_images, quick_scaling
from mmst_cli.model.large_images import noise, shrink_large_images
from mmst_cli.model.load_model import load_model

SIZES = ((640, 480), (300, 500))
NOT_QUICK = ("InternVL", "LLaVA-OneVision")  # cut their tiles out of the original
FROM_IMAGES = [family for family in FAMILIES if any("image" in kind for kind in family.takes)]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(quick_scaling, "LEAST", 30_000)
    monkeypatch.setattr(quick_scaling, "AFTER", 2)
    monkeypatch.setattr(large_images, "TRIED", ((400, 300), (220, 400)))


def reader_for(path, folder, **more):
    model = load_model(ModelConfig(name_or_path=str(path), **more), torch.device("cpu"))[0]
    reader = Reader(MediaConfig(), folder)
    shrink_large_images(model, [reader])
    return model, reader


@pytest.mark.parametrize("family", FROM_IMAGES, ids=[family.name for family in FROM_IMAGES])
def test_features_are_those_of_the_whole_images(family, tmp_path, tmp_path_factory):
    model, reader = reader_for(build(family.name, tmp_path_factory.getbasetemp()), tmp_path, **family.model)
    beside = any(isinstance(kind, str) and " with " in kind for kind in family.takes)
    sizes = []
    for _ in range(4):
        for size in SIZES:
            whole = noise(*size)
            read = reader.read(Modality.image, whole)
            sizes.append(read.size)
            one, other = ({"text": "a page", "image": image} if beside else image for image in (whole, read))
            found, expected = model.preprocess([other]), model.preprocess([one])
            for name, value in expected.items():
                same = torch.equal if isinstance(value, torch.Tensor) else lambda a, b: a == b
                assert same(found[name], value), name
            assert digest_of_input("image", read) == digest_of_input("image", whole)
    assert sizes[:4] == [*SIZES, *SIZES]
    assert (sizes[-2:] == [*SIZES]) == (family.name in NOT_QUICK)


def test_a_resizing_that_looks_at_colours_is_not_taken(tiny_model_path, tmp_path, monkeypatch):
    """As one that would take four channels otherwise than three."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    resize = Qwen2VLImageProcessor.resize
    monkeypatch.setattr(
        Qwen2VLImageProcessor,
        "resize",
        lambda self, images, *given, **told: resize(self, images + (images.shape[1] == 4), *given, **told),
    )
    _, reader = reader_for(tiny_model_path, tmp_path)
    assert {reader.read(Modality.image, noise(640, 480)).size for _ in range(6)} == {(640, 480)}


def test_sizes_that_come_seldom_and_small_ones_stay(tiny_model_path, tmp_path):
    _, reader = reader_for(tiny_model_path, tmp_path)
    for width in range(400, 440):
        assert reader.read(Modality.image, noise(width, 300)).width == width
    assert {reader.read(Modality.image, noise(150, 150)).size for _ in range(6)} == {(150, 150)}


def test_nothing_is_named_where_nobody_asks_for_names(tiny_model_path, tmp_path):
    _, reader = reader_for(tiny_model_path, tmp_path)
    reader.names_whole = False
    read = [reader.read(Modality.image, noise(640, 480)) for _ in range(4)]
    assert read[-1].size < (640, 480) and digest_of_whole(read[-1]) is None
