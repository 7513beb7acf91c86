"""Sounds in every form, each as mono float32."""

from __future__ import annotations

import time
import tracemalloc
import wave
from types import SimpleNamespace

import numpy
import pytest
import torch

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.audio import read_audio

pytest.importorskip("soundfile")
pytest.importorskip("av")

RATE = 16000
WHOLE = MediaConfig()
FORMATS = ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus", "a.m4a", "a.aac"]


def mono(samples):
    return samples.mean(axis=1, dtype=numpy.float32)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_from_path_and_bytes(write_sound, tone, name):
    path = write_sound(name)
    read = read_audio(path, WHOLE)
    assert read["array"].dtype == numpy.float32
    assert read["array"].ndim == 1
    assert read["sampling_rate"] == (48000 if name == "a.opus" else RATE)
    for form in (str(path), path.read_bytes(), {"bytes": path.read_bytes(), "path": None}):
        assert numpy.array_equal(read_audio(form, WHOLE)["array"], read["array"])
    # A lossy coder may add a little before and after; the tone itself is as loud as it was.
    assert numpy.std(read["array"][: read["sampling_rate"]]) == pytest.approx(mono(tone).std(), rel=0.05)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_S8", "PCM_U8", "FLOAT"])
def test_lossless_formats_are_exact(write_sound, tone, name, subtype):
    if (name, subtype) in {("a.wav", "PCM_S8"), ("a.flac", "PCM_U8"), ("a.flac", "FLOAT")}:
        pytest.skip("no such encoding in this format")
    read = read_audio(write_sound(name, subtype=subtype), WHOLE)["array"]
    bits = {"PCM_16": 16, "PCM_24": 24, "PCM_S8": 8, "PCM_U8": 8}.get(subtype)
    step = 2.0 ** (1 - bits) if bits else 0.0
    assert len(read) == len(tone)
    assert numpy.abs(read - mono(tone)).max() <= step


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("settings", [WHOLE, MediaConfig(max_seconds=0.3)], ids=["whole", "beginning"])
@pytest.mark.parametrize("rate", [None, 8000, 22050])
def test_torchcodec_gives_the_same_samples(torchcodec, write_sound, name, settings, rate):
    path = write_sound(name)
    read, other = read_audio(path, settings, rate), read_audio(torchcodec.AudioDecoder(path), settings, rate)
    assert read["sampling_rate"] == other["sampling_rate"]
    left, right = read["array"], other["array"]
    assert left.shape == right.shape
    # Measured: 0 for wav, flac and mp3, up to 6e-8 for the others.
    assert numpy.abs(left - right).max() <= (0 if name in ("a.wav", "a.flac") else 1e-4)


WAV = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"]
KINDS = [
    *(("a.wav", subtype) for subtype in WAV),
    *((name, None) for name in ("a.flac", "a.mp3", "a.ogg", "a.opus", "a.aiff", "a.au", "a.rf64", "a.w64", "a.caf")),
]


@pytest.mark.parametrize(("name", "subtype"), KINDS)
def test_libsndfile_gives_the_same_samples(write_sound, tone, name, subtype):
    import soundfile

    rate = 48000 if name == "a.opus" else RATE
    path = write_sound(name, numpy.tile(tone, (3, 1)), rate, subtype)
    whole, beginning = read_audio(path, WHOLE), read_audio(path, MediaConfig(max_seconds=0.7))
    expected, expected_rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert whole["sampling_rate"] == beginning["sampling_rate"] == expected_rate
    more = len(whole["array"]) - len(expected)
    assert 0 <= more <= (128 if name == "a.ogg" else 0)  # FFmpeg leaves the silence at the end of a last Vorbis block
    # Measured: 0 for PCM and IMA ADPCM; the libraries round MS ADPCM's predictions, and lossy coders, differently.
    exact = name not in ("a.mp3", "a.ogg", "a.opus")
    tolerance = 5e-3 if subtype == "MS_ADPCM" else 1e-7 if exact else 1e-3
    assert numpy.abs(whole["array"][: len(expected)] - mono(expected)).max() <= tolerance
    assert numpy.array_equal(beginning["array"], whole["array"][: round(0.7 * expected_rate)])


@pytest.mark.parametrize("channels", [8, 12, 64])
def test_any_number_of_channels_is_their_mean(write_sound, tone, channels):
    many = numpy.concatenate([tone, numpy.zeros((len(tone), channels - 2), dtype=numpy.float32)], axis=1)
    sound = read_audio(write_sound("a.wav", many, subtype="FLOAT"), MediaConfig())
    assert numpy.abs(sound["array"] - many.mean(axis=1)).max() < 1e-6


def test_tags_in_any_encoding_are_no_fault(write_sound, tone):
    content = write_sound("a.wav").read_bytes()
    tag = b"LIST" + (20).to_bytes(4, "little") + b"INFOIART" + (8).to_bytes(4, "little") + b"M\xf6tley\0\0"
    assert numpy.array_equal(read_audio(content + tag, WHOLE)["array"], read_audio(content, WHOLE)["array"])
    long = b"LIST" + (100_000).to_bytes(4, "little") + bytes(100_000)  # more than is looked at to tell the format
    assert numpy.array_equal(
        read_audio(content[:12] + long + content[12:], WHOLE)["array"], read_audio(content, WHOLE)["array"]
    )


def test_every_array_form_is_the_same_sound(tone):
    expected = mono(tone)
    samples = mono(tone)
    forms = [
        samples,
        samples.tolist(),
        torch.from_numpy(samples),
        tone,
        tone.T,
        tone.T.tolist(),
        tone.astype("float64"),
    ]
    for form in forms:
        read = read_audio({"array": form, "sampling_rate": RATE}, WHOLE)
        assert read["sampling_rate"] == RATE
        assert read["array"].dtype == numpy.float32
        assert numpy.allclose(read["array"], expected, atol=1e-7)


def test_whole_numbers_are_scaled_by_their_width():
    def scaled(values, dtype):
        return read_audio({"array": numpy.array(values, dtype=dtype), "sampling_rate": 10}, WHOLE)["array"].tolist()

    assert scaled([-32768, 0, 16384], "int16") == scaled([-32768, 0, 16384], "int64") == [-1.0, 0.0, 0.5]
    assert scaled([-(2**31), 2**30], "int32") == [-1.0, 0.5]
    assert scaled([0, 128, 192], "uint8") == [-1.0, 0.0, 0.5]
    with pytest.raises(DataError, match="a sound of int64 values; give floats from -1 to 1, int16 or int32"):
        scaled([40000], "int64")


def test_a_decoder_object_is_read(tone):
    played = SimpleNamespace(data=torch.from_numpy(tone.T.copy()), sample_rate=RATE)
    read = read_audio(SimpleNamespace(get_all_samples=lambda: played), MediaConfig(max_seconds=0.5))
    assert numpy.allclose(read["array"], mono(tone)[: RATE // 2])


def test_torchcodecs_own_decoder_is_read(torchcodec, write_sound):
    path = write_sound("a.flac")
    assert numpy.array_equal(
        read_audio(torchcodec.AudioDecoder(path), WHOLE)["array"], read_audio(path, WHOLE)["array"]
    )


def test_a_sound_is_resampled_to_the_rate_of_the_model(tone):
    read = read_audio({"array": mono(tone), "sampling_rate": RATE}, WHOLE, 8000)
    assert (read["sampling_rate"], len(read["array"])) == (8000, 8000)
    expected = 0.3 * numpy.sin(2 * numpy.pi * 440 * numpy.arange(8000) / 8000)
    assert numpy.abs(read["array"] - expected)[100:-100].max() < 1e-3
    assert read["array"].dtype == numpy.float32


def test_only_the_beginning_is_read(write_sound, tone):
    path = write_sound("a.wav")
    assert len(read_audio(path, MediaConfig(max_seconds=0.25))["array"]) == RATE // 4
    assert len(read_audio(path, MediaConfig(max_seconds=100))["array"]) == RATE
    array = {"array": tone, "sampling_rate": RATE}
    assert len(read_audio(array, MediaConfig(max_seconds=0.25))["array"]) == RATE // 4


def write_long(path, seconds=7200, rate=1000):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(b"\x01\x00" * (seconds * rate))
    return path


def test_a_file_of_two_hours_is_refused_or_cut_at_once(tmp_path):
    path = write_long(tmp_path / "long.wav")
    read_audio(path, MediaConfig(max_seconds=1))  # loads the libraries
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(DataError, match=r"long.wav: 7,200 s of sound; set media.max_seconds to read the beginning"):
        read_audio(path, WHOLE)
    assert len(read_audio(path, MediaConfig(max_seconds=3))["array"]) == 3000
    assert time.process_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_sound_without_a_length_in_its_header_is_bounded_too(write_sound):
    samples = numpy.zeros((1900 * 8000, 1), dtype=numpy.float32)
    samples[:8000] = 0.5
    path = write_sound("a.wav", samples, rate=8000)
    content = bytearray(path.read_bytes())
    # What ffmpeg writes into a pipe: a length of 0xFFFFFFFF.
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    with pytest.raises(DataError, match="s of sound; set media"):
        read_audio(bytes(content), WHOLE)
    assert len(read_audio(bytes(content), MediaConfig(max_seconds=2))["array"]) == 16000
    with pytest.raises(DataError, match="1,900 s of sound"):
        read_audio({"array": samples, "sampling_rate": 8000}, WHOLE)


@pytest.mark.parametrize("length", [0xFFFFFFFF, 2_000_000_000])
def test_a_sound_from_a_pipe_is_as_long_as_its_bytes(write_sound, tone, length):
    content = bytearray(write_sound("a.wav").read_bytes())
    # What ffmpeg and speech servers write into a pipe: not knowing the length, a placeholder of hours.
    content[4:8] = content[40:44] = length.to_bytes(4, "little")
    assert len(read_audio(bytes(content), WHOLE)["array"]) == RATE
    assert len(read_audio(bytes(content), MediaConfig(max_seconds=0.5))["array"]) == RATE // 2


def test_silence_is_a_sound(write_sound):
    assert not read_audio(write_sound("a.wav", numpy.zeros((100, 1))), WHOLE)["array"].any()


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a"])
def test_the_bytes_of_a_text_are_told_in_a_sentence(tmp_path, name):
    (tmp_path / name).write_text("just a line of text\n" * 50)
    for form in (tmp_path / name, (tmp_path / name).read_bytes()):
        with pytest.raises(DataError, match=r"no sound that can be read: [A-Z][^/]*\.$") as raised:
            read_audio(form, WHOLE)
        assert "\n" not in str(raised.value)


def test_files_without_sound_are_told(write_sound, write_clip, tmp_path):
    with pytest.raises(DataError, match=r"a\.wav: no sound in it: 0 samples"):
        read_audio(write_sound("a.wav", numpy.zeros((0, 1))), WHOLE)
    with pytest.raises(DataError, match=r"v\.mp4: a file without sound in it"):
        read_audio(write_clip("v.mp4"), WHOLE)
    (tmp_path / "b.wav").write_bytes(write_sound("a.wav").read_bytes()[:30])
    with pytest.raises(DataError, match=r"b.wav: no sound"):
        read_audio(tmp_path / "b.wav", WHOLE)
    (tmp_path / "list.mp3").write_text("#EXTM3U\nhttp://host/other.mp3\n")
    with pytest.raises(DataError, match=r"list.mp3: a list of other media, which isn't followed"):
        read_audio(tmp_path / "list.mp3", WHOLE)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (numpy.zeros(10), "a sound array without its sampling rate"),
        ([0.1, 0.2], "a sound array without its sampling rate"),
        ({"array": [0.1]}, "found a mapping of array"),
        ({"array": [0.1], "sampling_rate": None}, "sampling_rate is a whole number of samples a second, found None"),
        ({"array": [0.1], "sampling_rate": 0}, "found 0"),
        ({"array": [], "sampling_rate": 10}, "no sound in it: 0 samples"),
        ({"array": [0.1, float("nan")], "sampling_rate": 10}, "no numbers"),
        ({"array": [[0.1], [0.1, 0.2]], "sampling_rate": 10}, "differ in length"),
        ({"array": numpy.zeros((2, 2, 2)), "sampling_rate": 10}, r"found shape \(2, 2, 2\) of float64"),
        ({"array": ["a"], "sampling_rate": 10}, "holds numbers"),
        (7, "found int"),
        ("nowhere.wav", "no such file: nowhere.wav"),
    ],
)
def test_what_is_no_sound_is_told(source, sentence):
    with pytest.raises(DataError, match=sentence):
        read_audio(source, WHOLE)
