import dataclasses
import io
import itertools
import random
from collections import Counter

import datasets
import numpy as np
import pytest
from PIL import Image

from mmst_cli.builtin import clips
from mmst_cli.builtin.clip_drawing import (
    COLOURS,
    FRAMES,
    GROUNDS,
    MOVES,
    PATH,
    RADIUS,
    SHAPES,
    SIDE,
    SIZES,
    ClipAttributes,
    draw_clip,
)
from mmst_cli.builtin.clips import (
    CHANGES,
    EVAL_ROWS,
    TRAIN_ROWS,
    build_clips,
    encode_clip,
    eval_attributes,
    generate_rows,
    sample_queries,
    train_attributes,
    write_query,
)

STILL = ClipAttributes("disc", "red", "navy", "still", "constant")


@pytest.fixture(scope="module")
def evaluated():
    return eval_attributes(0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    return tmp_path


def look(clip):
    return clip.shape, clip.colour, clip.ground


def read(content):
    """Return all frames of an encoded clip, and how long each is shown, in milliseconds."""
    with Image.open(io.BytesIO(content)) as image:
        frames, times = [], []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
            times.append(image.info["duration"])
    return np.stack(frames), times


def shown_mask(frames):
    """Return where the shape is: shapes are bright and grounds are dark."""
    return frames.max(axis=-1) > 150


@pytest.mark.parametrize("name", ["train", "eval"])
def test_a_seed_gives_the_same_bytes_and_another_seed_gives_others(name):
    once, again, other = (list(generate_rows(name, 12, seed)) for seed in (0, 0, 1))
    assert once == again
    assert [row["query"] for row in once] != [row["query"] for row in other]
    assert [row["clip"]["bytes"] for row in once] != [row["clip"]["bytes"] for row in other]


@pytest.mark.parametrize("name", ["train", "eval"])
def test_more_rows_begin_with_the_same_ones(name):
    assert list(generate_rows(name, 20))[:12] == list(generate_rows(name, 12))


def test_train_and_eval_share_no_look_and_no_noise(evaluated, monkeypatch):
    trained = train_attributes(TRAIN_ROWS, 0)
    assert (len(trained), len(evaluated)) == (8_000, 405)
    assert not {look(clip) for clip in trained} & {look(clip) for clip in evaluated}
    assert len({look(clip) for clip in trained + evaluated}) == len(SHAPES) * len(COLOURS) * len(GROUNDS) == 72

    drawn = []
    monkeypatch.setattr(clips, "draw_clip", lambda *args: drawn.append(args) or np.zeros((1, 1, 1, 3), np.uint8))
    for name, rows in (("train", TRAIN_ROWS), ("eval", EVAL_ROWS)):
        assert sum(1 for _ in generate_rows(name, rows)) == rows
    assert [clip for clip, _ in drawn] == trained + evaluated
    assert len({noise for _, noise in drawn}) == TRAIN_ROWS + EVAL_ROWS


def test_train_shows_every_value_and_every_change(evaluated):
    trained = train_attributes(TRAIN_ROWS, 0)
    assert {(clip.move, clip.size) for clip in trained} == set(CHANGES)
    for attribute, values in {"shape": SHAPES, "colour": COLOURS, "ground": GROUNDS}.items():
        assert {getattr(clip, attribute) for clip in trained} == set(values)


def test_eval_shows_every_change_of_each_of_its_looks(evaluated):
    assert len(set(evaluated)) == EVAL_ROWS
    assert set(Counter(look(clip) for clip in evaluated).values()) == {len(MOVES) * len(SIZES)}


def test_a_query_describes_one_clip_of_eval(evaluated):
    rng = random.Random(3)
    for clip in evaluated:
        words = set(write_query(clip, rng).replace(",", "").replace(":", "").split())
        assert words & set(SHAPES) == {clip.shape}
        assert words & set(COLOURS) == {clip.colour}
        assert words & set(GROUNDS) == {clip.ground}


def test_wordings_of_two_changes_are_never_the_same(evaluated):
    for wordings in (clips._MOVES, clips._SIZES):
        for one, other in itertools.combinations(wordings.values(), 2):
            assert not any(a in b or b in a for a in one for b in other)
    rng = random.Random(4)
    for clip in evaluated:
        query = write_query(clip, rng)
        assert sum(text in query for text in clips._MOVES[clip.move]) == 1
        assert sum(text in query for text in clips._SIZES[clip.size]) == 1


def test_queries_for_a_tokenizer_are_varied_and_come_from_a_seed():
    assert list(sample_queries(50)) == list(sample_queries(50)) != list(sample_queries(50, seed=2))
    assert len(set(sample_queries(200))) > 150


def test_frames_come_back_bit_for_bit(evaluated):
    rows = list(generate_rows("eval", 60))
    for index, (clip, row) in enumerate(zip(evaluated, rows, strict=False)):
        frames, times = read(row["clip"]["bytes"])
        assert frames.shape == (FRAMES, SIDE, SIDE, 3) == (8, 32, 32, 3)
        assert np.array_equal(frames, draw_clip(clip, clips._EVAL_NOISE + index))
        assert times == [250.0] * FRAMES


@pytest.mark.parametrize("colour", [(8, 8, 8), (255, 255, 255)])
def test_equal_frames_are_kept(colour):
    drawn = draw_clip(STILL, 1)
    assert np.array_equal(drawn, drawn[:1].repeat(FRAMES, axis=0))
    plain = np.full((FRAMES, SIDE, SIDE, 3), colour, np.uint8)
    for frames in (drawn, plain):
        assert np.array_equal(read(encode_clip(frames))[0], frames)


@pytest.mark.parametrize("move", MOVES)
def test_shapes_move_as_they_are_called(move):
    steps = []
    for noise in range(20):
        centres = [centre(mask) for mask in shown_mask(draw_clip(dataclasses.replace(STILL, move=move), noise))]
        steps.append(((np.diff(centres, axis=0) + 0.5) % 1 - 0.5).sum(axis=0))
    assert np.allclose(np.mean(steps, axis=0), np.array(MOVES[move]) * np.mean(PATH), atol=0.1)


@pytest.mark.parametrize(("size", "sign"), SIZES.items())
def test_shapes_grow_as_they_are_called(size, sign):
    started_again = 0
    for noise in range(20):
        areas = shown_mask(draw_clip(dataclasses.replace(STILL, size=size), noise)).sum(axis=(1, 2))
        against = np.sign(np.diff(areas.astype(int))) == -sign
        assert against.sum() <= 1 if sign else len(set(areas)) == 1
        started_again += sign != 0 and against.sum()
    assert (5 < started_again < 18) == bool(sign)  # at most once, and not always


def centre(mask):
    """Return where a shape is on a picture without edges, from 0 to 1: across and down."""
    turn = np.exp(2j * np.pi * (np.arange(SIDE) + 0.5) / SIDE)
    return [np.angle((mask * turn[None, :]).sum()) / (2 * np.pi), np.angle((mask * turn[:, None]).sum()) / (2 * np.pi)]


def test_no_frame_tells_where_a_shape_goes():
    count = 200
    for index, move in enumerate(MOVES):
        clip = dataclasses.replace(STILL, move=move)
        masks = [shown_mask(draw_clip(clip, index * count + noise)) for noise in range(count)]
        places = np.exp(2j * np.pi * np.array([[centre(mask) for mask in frames] for frames in masks]))
        # 0 when every place is as likely as any other; its standard deviation is 0.07 then
        assert abs(places.mean(axis=0)).max() < 0.25, move


def test_no_frame_tells_how_a_size_changes():
    count = 200
    for index, size in enumerate(SIZES):
        clip = dataclasses.replace(STILL, size=size)
        areas = [shown_mask(draw_clip(clip, index * count + noise)).sum(axis=(1, 2)) for noise in range(count)]
        radii = np.sqrt(np.array(areas) / np.pi) / SIDE
        places = np.log(radii / RADIUS[0]) / np.log(RADIUS[1] / RADIUS[0])  # from least to most
        # as often in each quarter; the standard deviation of a share is 0.03 then
        for frame in places.T:
            shares = np.histogram(frame, bins=[-1, 0.25, 0.5, 0.75, 2])[0] / count
            assert abs(shares - 0.25).max() < 0.13, size


@pytest.mark.parametrize("decoder", [True, False])
def test_a_saved_collection_needs_no_video_decoder(decoder, cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "TORCHCODEC_AVAILABLE", decoder)
    rows = datasets.load_from_disk(str(build_clips("eval", 6)))
    assert rows.features["clip"] == datasets.Video(decode=False)
    assert list(rows) == list(generate_rows("eval", 6))


def test_a_second_call_builds_nothing(cache, monkeypatch):
    folder = build_clips("eval", 8)
    monkeypatch.setattr(clips, "generate_rows", None)
    assert build_clips("eval", 8) == folder
    assert list(cache.iterdir()) == [folder]


def test_each_content_has_its_own_folder(cache):
    folders = {build_clips("eval", 4), build_clips("train", 4), build_clips("eval", 8), build_clips("eval", 4, seed=1)}
    assert len(folders) == 4


def test_eval_has_so_many_rows_and_no_more(cache):
    with pytest.raises(ValueError, match="eval has at most 405 rows, asked for 406"):
        build_clips("eval", 406)
