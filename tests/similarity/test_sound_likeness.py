"""Which sounds are the same recording."""

from itertools import islice

import numpy as np
import pytest
from altered import SOUNDS

from mmst_cli.builtin.sounds import generate_rows
from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.media.reading import Reader
from mmst_cli.similarity.candidate_pairs import candidate_pairs, group, signature_of
from mmst_cli.similarity.sketch import is_near, sketch_of


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    reader = Reader(MediaConfig(), tmp_path_factory.mktemp("sounds"))
    rows = list(islice(generate_rows("train", 12), 12))
    cell = next(name for name in rows[0] if name != "query")
    return [reader.read(Modality.audio, row[cell]) for row in rows]


@pytest.mark.parametrize("how", SOUNDS)
def test_an_altered_copy_is_the_same(sounds, how):
    missed = [
        place
        for place, sound in enumerate(sounds)
        if not is_near(sketch_of("audio", sound), sketch_of("audio", SOUNDS[how](sound)))
    ]
    assert not missed


def test_others_are_others(sounds):
    sketches = [sketch_of("audio", sound) for sound in sounds]
    assert not [(i, j) for i in range(len(sketches)) for j in range(i) if is_near(sketches[i], sketches[j])]


def test_silence_is_silence_and_nothing_else(sounds):
    silence = sketch_of("audio", {"array": np.zeros(8000, np.float32), "sampling_rate": 8000})
    short = sketch_of("audio", {"array": np.zeros(10, np.float32), "sampling_rate": 8000})
    assert is_near(silence, sketch_of("audio", {"array": np.zeros(8100, np.float32), "sampling_rate": 8000}))
    assert not is_near(silence, sketch_of("audio", sounds[0]))
    assert not is_near(silence, short)


def test_altered_copies_are_compared_with_their_originals(sounds):
    copies = [change(sound) for change in SOUNDS.values() for sound in sounds]
    sketches = [sketch_of("audio", sound) for sound in [*sounds, *copies]]
    pairs = candidate_pairs(*zip(*map(signature_of, sketches), strict=True))
    assert set(range(len(sketches))) == set(pairs.ravel().tolist())
    joined = group(len(sketches), [(i, j) for i, j in pairs.tolist() if is_near(sketches[i], sketches[j])])
    assert joined.tolist() == [i % len(sounds) for i in range(len(sketches))]
