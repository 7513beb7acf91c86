"""Which pictures are the same: altered copies are, pages that differ in a chart, a colour or their text aren't."""

import random
from dataclasses import replace

import numpy as np
import pytest
from altered import PICTURES
from PIL import Image, ImageDraw, ImageFont

from mmst_cli.builtin.page_drawing import COLOURS, draw_page
from mmst_cli.builtin.pages import PAGES
from mmst_cli.similarity.image_likeness import may_be_same, sketch_image
from mmst_cli.similarity.sketch import is_near, sketch_of


def pages(count, size=(96, 128), seed=0):
    rng = random.Random(seed)
    return [draw_page(PAGES.sample(rng), noise, size=size) for noise in range(count)]


def text_page(seed):
    rng = random.Random(seed)
    image = Image.new("RGB", (600, 800), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for y in range(50, 740, 18):
        words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(12)]
        pen.text((50, y), " ".join(words)[:72], fill=(20, 20, 20), font=font)
    return image


def near(a, b):
    return is_near(sketch_of("image", a), sketch_of("image", b))


@pytest.mark.parametrize("how", PICTURES)
@pytest.mark.parametrize("of", ["small pages", "larger pages", "pages of text"])
def test_an_altered_copy_is_the_same(how, of):
    rng = random.Random(1)
    made = {
        "small pages": pages(12),
        "larger pages": pages(4, (425, 550)),
        "pages of text": [text_page(1), text_page(2)],
    }
    missed = [place for place, page in enumerate(made[of]) if not near(page, PICTURES[how](page, rng))]
    assert not missed


def test_other_pages_are_others():
    drawn = [sketch_of("image", page) for page in pages(60)]
    assert not [(i, j) for i in range(60) for j in range(i) if is_near(drawn[i], drawn[j])]


@pytest.mark.parametrize("attribute", ["header", "chart", "chart_colour", "place", "stamp_colour"])
def test_a_page_that_differs_in_one_attribute_alone_is_another(attribute):
    rng = random.Random(2)
    for noise in range(8):
        page = PAGES.sample(rng)
        others = [value for value in PAGES.domains[attribute] if value != getattr(page, attribute)]
        changed = replace(page, **{attribute: rng.choice(others)})
        assert not near(draw_page(page, noise), draw_page(changed, noise)), (page, changed)


def test_pages_of_other_text_are_others():
    sketches = [sketch_of("image", text_page(seed)) for seed in range(8)]
    assert not [(i, j) for i in range(8) for j in range(i) if is_near(sketches[i], sketches[j])]


def test_blank_pages_are_the_same_and_a_page_is_not_blank():
    white, grey = Image.new("RGB", (96, 128), "white"), Image.new("RGB", (96, 128), (250, 250, 250))
    assert near(white, grey)
    assert not near(white, pages(1)[0])
    assert not near(white, Image.new("RGB", (96, 128), COLOURS["red"]))


def test_a_picture_of_another_shape_is_another():
    page = pages(1)[0]
    assert not near(page, page.resize((128, 96)))


def test_a_picture_decoded_at_a_smaller_scale_is_the_same():
    page = pages(1, (850, 1100))[0]
    assert is_near(sketch_of("image", page), sketch_of("image", page.reduce(4), size=page.size))


def test_signatures_are_compared_pair_by_pair():
    one, other = (sketch_image(page)["signature"] for page in pages(2))
    found = may_be_same(np.stack([one, one]), np.stack([one, other]))
    assert found.tolist() == [True, False]
