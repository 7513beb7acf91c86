import dataclasses
import io
import random
import re
import wave
from itertools import combinations

import numpy
import pytest

from mmst_cli.builtin import sounds
from mmst_cli.builtin.combinations import NEAR_MISSES
from mmst_cli.builtin.sound_synthesis import COUNTS, PITCHES, Attributes, synthesise
from mmst_cli.builtin.sounds import (
    EVAL_ROWS,
    SOUNDS,
    TRAIN_ROWS,
    build_sounds,
    generate_rows,
    sample_queries,
    write_query,
)

PLAIN = Attributes("one", "middle", "pure", "steady", "even", "silence")
FRAME = 250  # samples


@pytest.fixture(scope="module")
def evaluated():
    return SOUNDS.held_out(EVAL_ROWS, 0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    return tmp_path


def changes(one, other):
    return sum(getattr(one, name) != getattr(other, name) for name in SOUNDS.domains)


def make(noise=7, **attributes):
    """Samples of a sound from -1 to 1."""
    return synthesise(dataclasses.replace(PLAIN, **attributes), noise) / 32768


def spectrum(samples):
    """Power at 0, 1, 2, ... hertz of a second."""
    return numpy.abs(numpy.fft.rfft(samples)) ** 2


def power(samples):
    """Mean power of each of 32 frames."""
    return (samples.reshape(-1, FRAME) ** 2).mean(axis=1)


def sounding(samples):
    """Samples of a tone without its soft edges."""
    loud = numpy.flatnonzero(numpy.abs(samples) > 0.02)
    return samples[loud[0] + 200 : loud[-1] - 200]


@pytest.mark.parametrize("name", ["train", "eval"])
def test_a_seed_gives_the_same_bytes_and_another_seed_gives_others(name):
    once, again, other = (list(generate_rows(name, 12, seed)) for seed in (0, 0, 1))
    assert once == again
    assert [row["query"] for row in once] != [row["query"] for row in other]
    assert [row["sound"]["bytes"] for row in once] != [row["sound"]["bytes"] for row in other]


def test_more_rows_begin_with_the_same_ones():
    assert list(generate_rows("train", 20))[:12] == list(generate_rows("train", 12))


def test_rows_hold_a_text_and_a_second_of_wav():
    row = next(generate_rows("eval", 4))
    with wave.open(io.BytesIO(row["sound"]["bytes"])) as sound:
        found = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate(), sound.getnframes())
        samples = numpy.frombuffer(sound.readframes(8000), "<i2")
    assert found == (1, 2, 8000, 8000)
    assert samples.std() > 100
    assert isinstance(row["query"], str)


def test_train_and_eval_share_no_combination(evaluated):
    trained = SOUNDS.others(TRAIN_ROWS, set(evaluated), 0)
    assert (len(trained), len(evaluated)) == (12_800, 400)
    assert not set(trained) & set(evaluated)


def test_what_is_made_for_train_and_eval_shares_no_combination(monkeypatch):
    def made_for(name, count):
        made = []
        monkeypatch.setattr(sounds, "synthesise", lambda *args: made.append(args) or numpy.zeros(1, numpy.int16))
        assert sum(1 for _ in generate_rows(name, count)) == count
        return made

    trained, evaluated = made_for("train", TRAIN_ROWS), made_for("eval", EVAL_ROWS)
    assert not {sound for sound, _ in trained} & {sound for sound, _ in evaluated}
    assert not {noise for _, noise in trained} & {noise for _, noise in evaluated}
    assert len({noise for _, noise in trained + evaluated}) == TRAIN_ROWS + EVAL_ROWS


def test_train_knows_every_value_that_eval_asks_for(evaluated):
    trained = SOUNDS.others(TRAIN_ROWS, set(evaluated), 0)
    for name, values in SOUNDS.domains.items():
        assert {getattr(sound, name) for sound in trained} == set(values)


def test_eval_sounds_all_differ_and_each_has_a_near_miss(evaluated):
    assert len(set(evaluated)) == EVAL_ROWS
    for sound in evaluated:
        assert 1 <= min(changes(sound, other) for other in evaluated if other is not sound) <= 2


def test_an_answer_has_three_near_misses_in_the_corpus(evaluated):
    for centre in evaluated[:: NEAR_MISSES + 1]:
        assert sum(1 <= changes(centre, other) <= 2 for other in evaluated) >= NEAR_MISSES


def test_a_query_names_all_six_attributes_and_no_other_value(evaluated):
    rng = random.Random(3)
    for sound in evaluated:
        query = write_query(sound, rng)
        for name, values in SOUNDS.domains.items():
            named = [value for value in values if re.search(rf"\b{value}\b", query)]
            assert named == [getattr(sound, name)], query


def test_tones_are_one_tone_or_several():
    for query in sample_queries(50):
        assert bool(re.search(r"\b(tone|beep|note)\b", query)) == bool(re.search(r"\bone\b", query)), query


@pytest.mark.parametrize("noise", range(4))
@pytest.mark.parametrize("pitch", PITCHES)
def test_the_loudest_frequency_is_the_pitch(pitch, noise):
    loudest = spectrum(make(noise, pitch=pitch)).argmax()
    assert abs(numpy.log2(loudest / PITCHES[pitch])) < 0.15  # octaves; pitches are more than one apart


@pytest.mark.parametrize("noise", range(4))
@pytest.mark.parametrize("count", COUNTS)
def test_as_many_tones_as_said(count, noise):
    samples = numpy.abs(make(noise, count=count))
    loud = numpy.convolve(samples, numpy.ones(160) / 160, "same") > 0.05
    assert (numpy.diff(loud.astype(int)) == 1).sum() == COUNTS[count]


@pytest.mark.parametrize("noise", range(4))
@pytest.mark.parametrize(("glide", "octaves"), [("rising", 0.5), ("falling", -0.5), ("steady", 0.0)])
def test_the_pitch_glides_as_said(glide, octaves, noise):
    tone = sounding(make(noise, glide=glide))
    first, last = tone[: len(tone) // 4], tone[-(len(tone) // 4) :]
    crossings = [(numpy.diff(numpy.signbit(part)) != 0).mean() for part in (first, last)]
    assert numpy.log2(crossings[1] / crossings[0]) == pytest.approx(octaves * 1.5, abs=0.25)


@pytest.mark.parametrize("noise", range(4))
def test_the_loudness_goes_as_said(noise):
    def gain(loudness):
        tone = sounding(make(noise, loudness=loudness))
        quarter = len(tone) // 4
        return 10 * numpy.log10((tone[-quarter:] ** 2).mean() / (tone[:quarter] ** 2).mean())

    assert gain("swelling") > 8  # decibels
    assert gain("fading") < -8
    assert abs(gain("even")) < 1


@pytest.mark.parametrize("noise", range(4))
@pytest.mark.parametrize("pitch", PITCHES)
def test_every_timbre_differs_at_every_pitch(pitch, noise):
    """Partials lie where the timbre has them, for the highest pitch too."""

    def share(timbre, multiple):  # of the power, within a quarter tone of a partial
        shown = spectrum(make(noise, pitch=pitch, timbre=timbre))
        pure = spectrum(make(noise, pitch=pitch)).argmax()
        low, high = (round(pure * multiple * factor) for factor in (0.97, 1.03))
        return shown[low:high].sum() / shown.sum()

    assert share("pure", 1) > 0.95
    assert share("hollow", 3) > 0.1 > 0.01 > share("hollow", 2)
    assert share("buzzing", 2) > 0.1
    assert share("metallic", 1.48) > 0.1
    assert share("noisy", 1) < 0.6


@pytest.mark.parametrize("noise", range(4))
def test_every_background_differs(noise):
    made = {name: make(noise, background=name) for name in SOUNDS.domains["background"]}
    low = {name: spectrum(samples)[45:65].sum() for name, samples in made.items()}
    quietest = {name: numpy.sort(power(samples))[2] for name, samples in made.items()}
    assert low["hum"] > 20 * max(low["silence"], low["hiss"], low["crackle"])
    assert quietest["hiss"] > 50 * quietest["silence"]
    between = {name: numpy.abs(numpy.diff(samples)).max() for name, samples in made.items()}
    assert between["crackle"] > 2 * between["silence"]  # jumps


@pytest.mark.parametrize("attribute", list(SOUNDS.domains))
def test_every_value_of_an_attribute_sounds_different(attribute, evaluated):
    made = [synthesise(dataclasses.replace(evaluated[0], **{attribute: v}), 7) for v in SOUNDS.domains[attribute]]
    for one, other in combinations(made, 2):
        assert (abs(one / 32768 - other / 32768) > 0.01).sum() > 80


def test_noise_changes_a_sound():
    assert synthesise(PLAIN, 1).tobytes() != synthesise(PLAIN, 2).tobytes()


def test_the_columns_are_text_and_sound(cache):
    from datasets import Audio, Value, load_from_disk

    rows = load_from_disk(str(build_sounds("eval", 8)))
    assert rows.features == {"query": Value("string"), "sound": Audio(decode=False)}
    assert [dict(row) for row in rows] == list(generate_rows("eval", 8))


def test_a_second_call_builds_nothing(cache, monkeypatch):
    folder = build_sounds("eval", 8)
    monkeypatch.setattr(sounds, "generate_rows", None)
    assert build_sounds("eval", 8) == folder
    assert list(cache.iterdir()) == [folder]


def test_each_content_has_its_own_folder(cache):
    folders = {
        build_sounds("eval", 4),
        build_sounds("train", 4),
        build_sounds("eval", 8),
        build_sounds("eval", 4, seed=1),
    }
    assert len(folders) == 4


def test_eval_is_no_longer_than_what_train_holds_out():
    with pytest.raises(ValueError, match="eval has at most 400 rows, asked for 401"):
        build_sounds("eval", EVAL_ROWS + 1)
