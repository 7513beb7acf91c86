"""Images that are read once: the same features afterwards, whoever asks for them; in bounded room, and resumable."""

import json
import os
import pickle
import signal

import pytest
import torch
from all_families import build
from PIL import Image
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.config.schema import MediaConfig, Modality, ModelConfig
from mmst_cli.errors import ConfigError, WorkError
from mmst_cli.evaluation.evaluate import EvaluationOptions, run_evaluation
from mmst_cli.media.prepared_images import PreparedImages
from mmst_cli.media.reading import Reader
from mmst_cli.model.large_images import noise
from mmst_cli.model.load_model import load_model
from mmst_cli.preparing import image_preparation
from mmst_cli.preparing.image_preparation import prepare_images
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.training.train import run_training

CPU = torch.device("cpu")
PIXELS = 20_000  # of the small pages, so that all of them are scaled


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MMST_CACHE", str(folder))
    return folder


@pytest.fixture
def reads(monkeypatch):
    """What readers that have prepared images decode all the same, in this process."""
    found = []
    scaled = Reader._scaled

    def note(reader, located):
        if reader.prepared is not None:
            found.append(located)
        return scaled(reader, located)

    monkeypatch.setattr(Reader, "_scaled", note)
    return found


@pytest.fixture
def config(tmp_path):
    content = job(tmp_path, max_steps=2)
    content["model"]["processor"] = {"max_pixels": PIXELS}
    for section in content["datasets"].values():
        section["prepare"] = True
    return content


def load(content, folder):
    return load_config(write_job(content, folder / "job.yaml"))


def prepared(content, folder, terminal):
    """Return a model and the training rows, their images prepared."""
    config = load(content, folder)
    model = load_model(config.model, CPU)[0]
    rows = prepare_rows("train", config.datasets["train"], media=config.media)
    prepare_images(config, {"train": rows}, model, terminal)
    return model, rows


def images_of(rows):
    return list(rows.values(next(column for column in rows.columns if column.modality is Modality.image)))


def files(cache):
    return sorted(cache.glob("prepared/*/*.arrow"))


def losses(folder):
    lines = map(json.loads, (folder / "run/metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_a_run_has_the_same_losses_and_the_next_one_decodes_nothing(config, tmp_path, quiet, reads, own_cache):
    run_training(load(config, tmp_path), terminal=quiet)
    found, kept = losses(tmp_path), files(own_cache)
    assert kept
    reads.clear()
    run_training(load(config, tmp_path), terminal=quiet, overwrite=True)
    assert not reads and losses(tmp_path) == found and files(own_cache) == kept
    evaluated = run_evaluation(load(config, tmp_path), EvaluationOptions(), quiet)
    assert not reads and evaluated.evaluations
    for section in config["datasets"].values():
        section["prepare"] = False
    run_training(load(config, tmp_path), terminal=quiet, overwrite=True)
    assert not reads and losses(tmp_path) == found


@pytest.mark.parametrize("family", ["Qwen2-VL", "SigLIP", "CLIP", "PaliGemma"])
def test_features_are_bitwise_the_same(family, tmp_path, tmp_path_factory, quiet):
    path = build(family, tmp_path_factory.getbasetemp())
    model = load_model(ModelConfig(name_or_path=str(path)), CPU)[0]
    for number, size in enumerate(((640, 480), (300, 500), (30, 40), (900, 120))):
        noise(*size).save(tmp_path / f"{number}.png")
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"query": f"page {number}", "image": f"{number}.png"}) + "\n" for number in range(4))
    )
    content = job(tmp_path)
    content["model"]["name_or_path"] = str(path)
    content["datasets"]["train"] |= {"path": str(tmp_path / "rows.jsonl"), "prepare": True}
    config = load(content, tmp_path)
    rows = prepare_rows("train", config.datasets["train"], media=config.media)
    whole = images_of(rows)
    prepare_images(config, {"train": rows}, model, quiet)
    smaller = images_of(rows)
    assert len(rows.reader.prepared) == 4
    for one, other in zip(whole, smaller, strict=True):
        given = [[{"image": image, "text": "a"}] if family == "PaliGemma" else [image] for image in (one, other)]
        features, expected = (model.preprocess(images)["pixel_values"] for images in given)
        assert torch.equal(features, expected)


def test_content_tells_images_apart_and_not_their_names(config, tmp_path, quiet, own_cache):
    _, rows = prepared(config, tmp_path, quiet)
    store = rows.reader.prepared
    for name, image in (("a.png", noise(300, 200)), ("b.png", noise(200, 300))):
        image.save(tmp_path / name)
    with store.collecting() as made:
        rows.reader.read(Modality.image, str(tmp_path / "a.png"))
    assert store.keep(made)
    store.open()
    (tmp_path / "b.png").replace(tmp_path / "a.png")
    replaced = rows.reader.read(Modality.image, str(tmp_path / "a.png"))
    assert replaced.height > replaced.width
    noise(300, 200).save(tmp_path / "elsewhere.png")
    size = rows.reader.read(Modality.image, {"bytes": (tmp_path / "elsewhere.png").read_bytes(), "path": None}).size
    assert size[0] > size[1] and size[0] * size[1] <= PIXELS
    assert pickle.loads(pickle.dumps(store)).folder == store.folder
    assert len(pickle.loads(pickle.dumps(store))) == len(store)


def test_what_a_killed_preparation_left_is_gone_on_with(config, tmp_path, quiet, monkeypatch, own_cache):
    monkeypatch.setattr(image_preparation, "PART", 8)
    _, rows = prepared(config, tmp_path, quiet)
    expected, whole = [image.tobytes() for image in images_of(rows)], files(own_cache)
    assert len(whole) == 12
    for path in whole[3:]:
        path.unlink()
    half = {path: path.read_bytes() for path in files(own_cache)}
    _, rows = prepared(config, tmp_path, quiet)
    assert [image.tobytes() for image in images_of(rows)] == expected
    assert {path: path.read_bytes() for path in half} == half and len(files(own_cache)) == 12


def test_a_process_that_the_system_ends_is_a_sentence(config, tmp_path, quiet, monkeypatch):
    monkeypatch.setattr(image_preparation, "PART", 8)
    monkeypatch.setattr(PreparedImages, "keep", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    monkeypatch.setattr(image_preparation.processes, "processors", lambda: 2)
    with pytest.raises(WorkError, match=r"^the system ended a process that prepares images \([\d, ]+\)"):
        prepared(config, tmp_path, quiet)


def test_what_others_left_goes_first_and_a_full_store_stops(config, tmp_path, quiet, monkeypatch, own_cache, reads):
    monkeypatch.setattr(image_preparation, "PART", 8)
    monkeypatch.setattr(image_preparation.processes, "processors", lambda: 1)
    other = own_cache / "prepared" / "other" / "old.arrow"
    other.parent.mkdir(parents=True)
    other.write_bytes(bytes(100_000))
    monkeypatch.setenv("MMST_PREPARED_GB", "6e-05")
    warned = []
    monkeypatch.setattr(quiet, "warn", warned.append)
    _, rows = prepared(config, tmp_path, quiet)
    assert not other.exists() and 1 <= len(files(own_cache)) < 12
    assert len(warned) == 1 and "MMST_PREPARED_GB=6e-05" in warned[0]
    reads.clear()
    assert all(isinstance(image, Image.Image) for image in images_of(rows)) and reads


def test_a_processor_that_cuts_tiles_is_refused(config, tmp_path, tmp_path_factory, quiet):
    config["model"] = {"name_or_path": str(build("InternVL", tmp_path_factory.getbasetemp()))}
    with pytest.raises(ConfigError, match=r"^datasets\.train\.prepare: this model's processor makes something else"):
        prepared(config, tmp_path, quiet)


def test_a_limit_that_is_no_number_is_refused(config, tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("MMST_PREPARED_GB", "much")
    with pytest.raises(ConfigError, match="MMST_PREPARED_GB=much: set it to a number"):
        prepared(config, tmp_path, quiet)


def test_a_dry_run_keeps_nothing(config, tmp_path, quiet, own_cache):
    run_training(load(config, tmp_path), terminal=quiet, dry_run=True)
    assert not files(own_cache)


def test_broken_images_are_told_by_the_row_as_ever(config, tmp_path, quiet):
    (tmp_path / "0.png").write_bytes(b"no image")
    noise(300, 200).save(tmp_path / "1.png")
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"query": "a", "image": f"{number}.png"}) + "\n" for number in range(2))
    )
    config["datasets"]["train"] |= {"path": str(tmp_path / "rows.jsonl"), "on_bad_row": "skip"}
    _, rows = prepared(config, tmp_path, quiet)
    assert len(rows.reader.prepared) == 1
    assert rows.reader.settings == MediaConfig()
