"""Sounds, clips, and folders of many kinds."""

import json
import shutil
import time
import wave
import weakref

import numpy
import pytest
from media_samples import RATE, animation, as_floats, clip, tone, wav, write_mp4
from PIL import Image

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.errors import MmstError
from mmst_cli.media import reading
from mmst_cli.media.audio import read_audio
from mmst_cli.media.video import read_video

PITCHES = (220, 440, 880)


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """Three wav files in a folder of the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sounds").mkdir()
    for pitch in PITCHES:
        (tmp_path / "sounds" / f"{pitch}.wav").write_bytes(wav(tone(pitch)))
    return tmp_path


def test_sounds_get_the_vectors_of_model_encode(sounds, encode, read_output, clap, clap_folder):
    encode(["sounds"], sounds / "out", model=clap_folder)
    ids, vectors = read_output(sounds / "out")
    assert ids == [f"sounds/{pitch}.wav" for pitch in PITCHES]
    assert numpy.array_equal(vectors, clap.encode([as_floats(tone(pitch)) for pitch in PITCHES]))


@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg"])
def test_sound_files_by_suffix(kind, sounds, encode, read_output, clap, clap_folder):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(sounds / f"tone.{kind}", tone(300, 0.8, 16_000), 16_000)
    expected = read_audio(sounds / f"tone.{kind}", MediaConfig(), RATE)
    encode([f"tone.{kind}"], sounds / "out", model=clap_folder)
    assert numpy.array_equal(read_output(sounds / "out")[1], clap.encode([expected]))


def test_sounds_of_other_rates_are_brought_to_that_of_the_model(sounds, encode, read_output, read_errors, clap_folder):
    (sounds / "sounds" / "440.wav").write_bytes(wav(tone(440, rate=44_100), 44_100))
    encode(["sounds"], sounds / "out", model=clap_folder)
    _, mixed = read_output(sounds / "out")
    (sounds / "sounds" / "440.wav").write_bytes(wav(tone(440)))
    encode(["sounds"], sounds / "same", model=clap_folder)
    assert read_errors(sounds / "out") == {}
    assert numpy.abs(mixed - read_output(sounds / "same")[1]).max() < 0.05


def test_long_sounds_are_cut_or_refused_at_once(sounds, encode, read_output, read_errors, clap, clap_folder, said):
    with wave.open(str(sounds / "sounds" / "330.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(tone(330, 10).tobytes() * 720)
    begun = time.process_time()
    with pytest.raises(MmstError, match="7,200 s of sound"):
        reading.Reader(MediaConfig(), sounds).read(Modality.audio, "sounds/330.wav")
    assert time.process_time() - begun < 1
    result = encode(["sounds"], sounds / "out", model=clap_folder)
    assert (result.count, result.failed) == (3, 1)
    assert "7,200 s of sound; set --max-seconds to" in read_errors(sounds / "out")["sounds/330.wav"]
    assert "takes 1 s at random" in said.getvalue()
    encode(["sounds"], sounds / "cut", model=clap_folder, media={"max_seconds": 0.5})
    expected = [as_floats(tone(pitch, 0.5)) for pitch in (220, 330, 440, 880)]
    assert numpy.array_equal(read_output(sounds / "cut")[1], clap.encode(expected))
    assert said.getvalue().count("at random") == 1
    again = encode(["sounds"], sounds / "again", model=clap_folder, media={"max_seconds": 5.0})
    assert again.failed == 0


def test_what_is_no_sound_fails_alone(sounds, encode, read_errors, clap_folder):
    (sounds / "sounds" / "note.wav").write_text("not a sound")
    (sounds / "sounds" / "silent.wav").write_bytes(wav(tone(1, 0)))
    result = encode(["sounds"], sounds / "out", model=clap_folder)
    assert (result.count, result.failed) == (3, 2)
    errors = read_errors(sounds / "out")
    assert "no sound that can be read" in errors["sounds/note.wav"]
    assert "sounds/silent.wav" in errors


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "mp4"])
def test_clips_get_the_vectors_of_model_encode(kind, sounds, encode, read_output, model):
    name = f"clip.{kind.lower()}"
    if kind == "mp4":
        pytest.importorskip("av")
        write_mp4(sounds / name, clip(3))
    else:
        (sounds / name).write_bytes(animation(clip(3), kind))
    (sounds / "rows.jsonl").write_text(json.dumps({"clip": name}))
    encode(["rows.jsonl"], sounds / "out", columns=["clip:video"])
    expected = read_video(sounds / name, MediaConfig())
    if kind != "mp4":
        assert numpy.array_equal(expected["array"], clip(3))
    assert numpy.array_equal(read_output(sounds / "out")[1], model.encode([expected]))


def test_which_frames_are_taken_of_clip_files(sounds, encode, read_output, model_folder):
    pytest.importorskip("av")
    from sentence_transformers import SentenceTransformer

    write_mp4(sounds / "clip.mp4", clip(3))
    encode(["clip.mp4"], sounds / "out", media={"fps": 2.0, "max_frames": 3, "max_pixels": 1024})
    taken = read_video(sounds / "clip.mp4", MediaConfig(fps=2.0, max_frames=3, max_pixels=1024))
    assert taken["array"].shape == (3, 26, 39, 3)
    as_given = SentenceTransformer(model_folder, device="cpu")
    as_given[0].processor.video_processor.do_sample_frames = False
    numpy.testing.assert_allclose(read_output(sounds / "out")[1], as_given.encode([taken]), rtol=0, atol=1e-6)


@pytest.fixture
def many_kinds(sounds, pages):
    """A sound, a clip, a moving image and two pages, in an order that mixes them."""
    folder = sounds / "kinds"
    folder.mkdir()
    pages[0].save(folder / "a.png")
    (folder / "b.wav").write_bytes(wav(tone(220)))
    (folder / "c.gif").write_bytes(animation(clip(3), "GIF"))
    write_mp4(folder / "d.mp4", clip(5))
    pages[1].save(folder / "e.png")
    return folder


def test_a_folder_of_many_kinds(many_kinds, sounds, encode, read_output, read_errors, model, pages, monkeypatch):
    monkeypatch.setattr(reading, "read_audio", lambda *_: pytest.fail("read"))
    result = encode(["kinds"], sounds / "out", batch_size=2)
    ids, vectors = read_output(sounds / "out")
    assert ids == [f"kinds/{name}" for name in ("a.png", "c.gif", "d.mp4", "e.png")]
    still = Image.fromarray(clip(3)[0])
    images = model.encode([pages[0], still, pages[1]], batch_size=2)
    (moving,) = model.encode([read_video(many_kinds / "d.mp4", MediaConfig())])
    assert numpy.array_equal(vectors, numpy.stack([images[0], images[1], moving, images[2]]))
    assert (result.count, result.failed) == (4, 1)
    assert read_errors(sounds / "out") == {"kinds/b.wav": "audio, but the model takes text, image, video, message"}


def test_the_same_folder_for_a_model_that_hears(many_kinds, sounds, encode, read_output, read_errors, clap_folder):
    encode(["kinds"], sounds / "out", model=clap_folder)
    assert read_output(sounds / "out")[0] == ["kinds/b.wav"]
    assert set(read_errors(sounds / "out").values()) == {
        "image, but the model takes text, audio",
        "video, but the model takes text, audio",
    }


def test_a_folder_of_nothing_that_the_model_takes_is_refused(sounds, encode):
    with pytest.raises(MmstError, match=r"sounds: audio, but .* takes text, image, video, message\."):
        encode(["sounds"], sounds / "out")
    assert not (sounds / "out").exists()


def test_no_more_than_a_batch_and_one_input_are_held_decoded(sounds, pages, encode, monkeypatch):
    (sounds / "pages").mkdir()
    for number in range(12):
        pages[number % 6].save(sounds / "pages" / f"{number:02d}.png")
    read_image = reading.read_image
    alive, most = set(), []

    def note(file, **options):
        image = read_image(file, **options)
        alive.add(file)
        weakref.finalize(image, alive.discard, file)
        most.append(len(alive))
        return image

    monkeypatch.setattr(reading, "read_image", note)
    assert encode(["pages"], sounds / "out", batch_size=3, workers=0).count == 12
    assert len(most) == 12
    assert max(most) <= 4


def test_resumed_in_the_middle_of_many_kinds(many_kinds, sounds, encode):
    encode(["kinds"], sounds / "whole", rows_per_part=2)
    encode(["kinds"], sounds / "out", rows_per_part=2)
    for late in ("part-00001.parquet", "part-00002.parquet", "_manifest.json"):
        (sounds / "out" / late).unlink()
    encode(["kinds"], sounds / "out", rows_per_part=2, resume=True)
    for path in (sounds / "whole").iterdir():
        assert path.read_bytes() == (sounds / "out" / path.name).read_bytes(), path.name


def test_resume_with_other_settings_is_refused_by_their_name(sounds, encode, clap_folder):
    encode(["sounds"], sounds / "out", model=clap_folder, media={"max_seconds": 1.0})
    assert json.loads((sounds / "out" / "_job.json").read_text())["media"]["max_seconds"] == 1.0
    with pytest.raises(MmstError, match=r"begun with media\.max_seconds 1\.0, and now it is null"):
        encode(["sounds"], sounds / "out", model=clap_folder, resume=True)


def test_the_settings_of_a_run_are_those_it_was_trained_with(sounds, encode, read_output, clap, clap_folder):
    run = sounds / "run"
    shutil.copytree(clap_folder, run / "model")
    (run / "config.yaml").write_text(_CONFIG)
    encode(["sounds"], sounds / "out", model="run")
    halves = clap.encode([as_floats(tone(pitch, 0.5)) for pitch in PITCHES])
    assert numpy.array_equal(read_output(sounds / "out")[1], halves)
    assert json.loads((sounds / "out" / "_job.json").read_text())["media"]["max_seconds"] == 0.5
    encode(["sounds"], sounds / "over", model="run", media={"max_seconds": 0.25, "fps": None})
    quarters = clap.encode([as_floats(tone(pitch, 0.25)) for pitch in PITCHES])
    assert numpy.array_equal(read_output(sounds / "over")[1], quarters)


_CONFIG = """
run_name: heard
model: {name_or_path: builtin:tiny-clap}
datasets:
  train:
    use: train
    path: builtin:sounds
    columns: {query: {role: anchor}, sound: {role: positive, modality: audio}}
loss: [{type: MultipleNegativesRankingLoss}]
media: {max_seconds: 0.5}
"""
