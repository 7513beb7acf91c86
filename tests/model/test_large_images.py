"""Large images are scaled as they are read, and the features are the same bit by bit, or they stay whole."""

import gc
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from all_families import FAMILIES, build
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from mmst_cli.config.schema import MediaConfig, Modality, ModelConfig
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.media.reading import Reader
from mmst_cli.mining.media_cells import MediaCells
from mmst_cli.model import large_images
from mmst_cli.model.large_images import shrink_large_images
from mmst_cli.model.load_model import load_model
from mmst_cli.model.precision import Precision, Runtime
from mmst_cli.preparing.prepared_model import prepare_model, with_own_reader
from mmst_cli.rows.columns import RowSet

SIZES = ((640, 480), (300, 500), (640, 480), (900, 120))
TILED = ("InternVL", "LLaVA-OneVision")  # cut their tiles out of the original
FROM_IMAGES = [family for family in FAMILIES if any("image" in kind for kind in family.takes)]


@pytest.fixture(autouse=True)
def small_ones_are_large(monkeypatch):
    monkeypatch.setattr(large_images, "LARGE", 30_000)
    monkeypatch.setattr(large_images, "TRIED", ((400, 300), (220, 400)))


def reader_for(model, tmp_path):
    reader = Reader(MediaConfig(), tmp_path)
    shrink_large_images(model, [reader])
    return reader


def load(path, **more):
    return load_model(ModelConfig(name_or_path=str(path), **more), torch.device("cpu"))[0]


def noise(width, height):
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal if isinstance(value, torch.Tensor) else lambda a, b: a == b
        assert same(value, other[name]), name


@pytest.mark.parametrize("family", FROM_IMAGES, ids=[family.name for family in FROM_IMAGES])
def test_features_are_those_of_the_whole_images(family, tmp_path, tmp_path_factory):
    model = load(build(family.name, tmp_path_factory.getbasetemp()), **family.model)
    reader = reader_for(model, tmp_path)
    whole = [noise(*size) for size in SIZES]
    read = [reader.read(Modality.image, image) for image in whole]
    beside = any(isinstance(kind, str) and " with " in kind for kind in family.takes)
    given = [[{"text": "a page", "image": image} if beside else image for image in images] for images in (whole, read)]
    assert_same(*(model.preprocess(images) for images in given))
    assert any(image.size != size for image, size in zip(read, SIZES, strict=True)) == (family.name not in TILED)
    assert [digest_of_input("image", image) for image in read] == [digest_of_input("image", image) for image in whole]


def test_small_images_and_those_that_a_processor_refuses_stay_as_they_are(tiny_model_path, tmp_path):
    reader = reader_for(load(tiny_model_path), tmp_path)
    assert reader.read(Modality.image, noise(200, 100)).size == (200, 100)
    assert reader.read(Modality.image, noise(9000, 45)).size == (9000, 45)  # 200:1, would be scaled twice
    assert reader.read(Modality.mixed, {"image": noise(640, 480), "text": "a"})["image"].size < (640, 480)


@pytest.mark.parametrize("with_weights", [True, False])
def test_whoever_embeds_reads_so_and_whoever_looks_at_the_data_does_not(tiny_model_path, tmp_path, with_weights):
    reader = Reader(MediaConfig(), tmp_path)
    runtime = Runtime(torch.device("cpu"), Precision()) if with_weights else None
    prepare_model(ModelConfig(name_or_path=str(tiny_model_path)), runtime, readers=[reader])
    assert (reader.read(Modality.image, noise(640, 480)).size == (640, 480)) != with_weights


class OddProcessor:
    """Scales an image, and looks at the original besides."""

    def resize(self, image):
        return np.asarray(image.resize((32, 32)))

    def preprocess(self, image):
        return {"pixel_values": self.resize(image), "looked_at": self.look_at(image)}

    def look_at(self, image):
        return image.size


class FarSighted(OddProcessor):
    """Looks at the original of large images alone, which no small one tells."""

    def look_at(self, image):
        return image.size if image.width > 500 else None


class Encoder:
    modalities = ("image",)

    def __init__(self, processor):
        self.processor = SimpleNamespace(image_processor=processor)

    def preprocess(self, images):
        return self.processor.image_processor.preprocess(images[0])


@pytest.mark.parametrize("processor", [OddProcessor(), FarSighted()])
def test_a_processor_that_looks_at_the_original_gets_it(processor):
    shrinker = large_images.Shrinker(Encoder(processor), alone=True)
    for _ in range(2):
        assert shrinker(noise(640, 480)).size == (640, 480)


def test_another_process_gets_no_weights(tiny_model_path, tmp_path, monkeypatch):
    reader = reader_for(load(tiny_model_path), tmp_path)
    stored = pickle.dumps(reader)
    assert len(stored) < 10_000
    assert pickle.loads(stored).shrink is reader.shrink  # in a forked one, which has it
    monkeypatch.setattr(large_images, "_made", {})
    assert pickle.loads(stored).read(Modality.image, noise(640, 480)).size == (640, 480)


def test_other_models_and_stored_copies_get_whole_images(tiny_model_path, tmp_path):
    reader = reader_for(load(tiny_model_path), tmp_path)
    rows = with_own_reader(RowSet("rows", None, (), reader))
    assert rows.reader.shrink is None
    assert MediaCells(tmp_path, tmp_path, reader, embed=True).reader.shrink is None
    assert reader.shrink is not None


def test_an_image_that_two_encoders_see_stays_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(large_images, "encoders_of", lambda model, kind: [Encoder(OddProcessor()), Encoder(None)])
    assert reader_for(SimpleNamespace(), tmp_path).shrink is None


def jpeg(path, size=(1702, 2201)):
    """Save a picture without hard edges, as photos are."""
    Image.radial_gradient("L").resize(size).convert("RGB").save(path, quality=90)
    return str(path)


def test_jpegs_are_decoded_at_a_fraction_where_that_is_asked_for(tiny_model_path, tmp_path, monkeypatch):
    model = load(tiny_model_path)
    whole, fast = Reader(MediaConfig(), tmp_path), Reader(MediaConfig(fast_jpeg=True), tmp_path)
    shrink_large_images(model, [whole, fast])
    decoded = []
    load_pixels = JpegImageFile.load
    monkeypatch.setattr(JpegImageFile, "load", lambda image: (decoded.append(image.size), load_pixels(image))[1])
    for name in ("upright.jpg", "turned.jpg"):
        path = jpeg(tmp_path / name, (1702, 2201) if name == "upright.jpg" else (2201, 1702))
        decoded.clear()
        images = [fast.read(Modality.image, path)]
        assert max(max(size) for size in decoded) == 276  # an eighth
        images.append(whole.read(Modality.image, path))
        one, other = (model.preprocess([image])["pixel_values"] for image in images)
        assert one.shape == other.shape and 0 < (one - other).abs().mean() < 0.01
    png = tmp_path / "page.png"
    noise(640, 480).save(png)
    assert fast.read(Modality.image, str(png)).tobytes() == whole.read(Modality.image, str(png)).tobytes()


def test_no_smaller_than_a_jpeg_is_seen_and_in_full_where_tiles_are_cut(tiny_model_path, tmp_path, tmp_path_factory):
    path = jpeg(tmp_path / "small.jpg", (170, 150))
    for model in (load(tiny_model_path), load(build("InternVL", tmp_path_factory.getbasetemp()))):
        whole, fast = Reader(MediaConfig(), tmp_path), Reader(MediaConfig(fast_jpeg=True), tmp_path)
        shrink_large_images(model, [whole, fast])
        assert fast.read(Modality.image, path).tobytes() == whole.read(Modality.image, path).tobytes()


def test_records_of_before_know_nothing_of_it():
    assert "fast_jpeg" not in MediaConfig().record() and MediaConfig(fast_jpeg=True).record()["fast_jpeg"] is True


def test_no_large_image_lives_on_until_a_collection(tiny_model_path, tmp_path):
    reader = reader_for(load(tiny_model_path), tmp_path)
    reader.read(Modality.image, noise(640, 480))  # what is learnt at the first one is paid once
    gc.collect()
    gc.disable()
    try:
        for _ in range(4):
            reader.read(Modality.image, noise(1601, 1203))
        alive = [value for value in gc.get_objects() if isinstance(value, torch.Tensor) and value.numel() > 5_000_000]
    finally:
        gc.enable()
    assert not alive
