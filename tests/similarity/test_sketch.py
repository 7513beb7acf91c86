"""Sketches of every modality: stored and read back, and compared part by part."""

import numpy as np
import pytest
from altered import PICTURES

from mmst_cli.similarity.sketch import Sketch, is_near, sketch_of


@pytest.fixture(scope="module")
def inputs(page_rows):
    (text, page), (other_text, other_page) = page_rows(2)
    frames = np.stack([np.asarray(page), np.asarray(other_page)] * 3)
    sound = {"array": np.sin(np.arange(8000) * 0.3).astype(np.float32), "sampling_rate": 8000}
    said = [{"role": "user", "content": [{"type": "text", "text": text}, {"type": "image", "image": page}]}]
    return {
        "text": (text, other_text),
        "image": (page, other_page),
        "audio": (sound, {**sound, "array": np.sin(np.arange(8000) * 0.9).astype(np.float32)}),
        "video": ({"array": frames, "video_metadata": {}}, {"array": frames[:, ::-1], "video_metadata": {}}),
        "message": (said, [{**said[0], "role": "assistant"}]),
        "mixed": ({"text": text, "image": page}, {"text": text, "image": other_page}),
    }


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video", "message", "mixed"])
def test_an_input_is_near_itself_alone_and_survives_storing(inputs, modality):
    one, other = (sketch_of(modality, value) for value in inputs[modality])
    stored = Sketch.from_bytes(one.to_bytes())
    assert stored.digest == one.digest
    assert is_near(one, stored)
    assert not is_near(one, other)
    blind = Sketch(one.modality, b"?" * 16, stored.arrays, stored.parts)
    assert is_near(one, blind)  # by what is kept, without the digest
    assert len(one.to_bytes()) < 150_000


def test_an_input_of_parts_is_near_if_all_its_parts_are(inputs):
    text, page = inputs["mixed"][0].values()
    altered = PICTURES["jpeg 85"](page, None)
    assert is_near(sketch_of("mixed", inputs["mixed"][0]), sketch_of("mixed", {"text": text, "image": altered}))
    assert not is_near(sketch_of("mixed", {"text": text, "image": page}), sketch_of("mixed", {"image": page}))
    assert not is_near(sketch_of("mixed", {"image": page}), sketch_of("image", page))


def test_sketches_that_an_earlier_version_stored_can_be_compared(inputs):
    one, other = (sketch_of("image", page) for page in inputs["image"])
    earlier = Sketch("image", one.digest, {"sketch" if n == "signature" else n: a for n, a in one.arrays.items()})
    stored = Sketch.from_bytes(earlier.to_bytes())
    assert is_near(sketch_of("image", PICTURES["jpeg 85"](inputs["image"][0], None)), stored)
    assert not is_near(other, stored)
