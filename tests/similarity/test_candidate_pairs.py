"""Which pairs are compared: all near ones must be among them."""

import random

import numpy as np
from altered import PICTURES

from mmst_cli.similarity.candidate_pairs import BUCKET, candidate_pairs, group, signature_of
from mmst_cli.similarity.sketch import sketch_of


def pairs_of(sketches):
    return {tuple(pair) for pair in candidate_pairs(*zip(*map(signature_of, sketches), strict=True)).tolist()}


def test_altered_pictures_are_compared_with_their_originals(page_rows):
    rng = random.Random(0)
    pages = [page for _, page in page_rows(300)]
    copies = [change(pages[place], rng) for change in PICTURES.values() for place in range(40)]
    found = pairs_of([sketch_of("image", image) for image in [*pages, *copies]])
    wanted = {(index % 40, 300 + index) for index in range(len(copies))}
    # Copies of a page are near each other, so that one link to the others is enough.
    missed = [pair for pair in wanted if not any(pair[1] in p for p in found)]
    assert not missed
    assert len(found) < 3 * (len(pages) + len(copies))


def test_texts_are_compared_by_what_they_share():
    words = ["".join(random.Random(seed).choices("abcdef", k=6)) for seed in range(120)]
    texts = ["Find it!", "find it", "another", " ".join(words), " ".join([*words[:-1], "changed"])]
    assert pairs_of([sketch_of("text", text) for text in texts]) == {(0, 1), (3, 4)}


def test_every_long_text_is_compared_with_a_copy_that_differs_by_a_word():
    rng = random.Random(0)
    words = [["".join(rng.choices("abcdefghij", k=5)) for _ in range(80)] for _ in range(200)]
    copies = [[*own[:40], "changed", *own[41:]] for own in words]
    texts = [" ".join(own) for own in [*words, *copies]]
    found = pairs_of([sketch_of("text", text) for text in texts])
    assert found >= {(place, 200 + place) for place in range(200)}
    assert len(found) < 220


def test_many_texts_that_share_most_of_their_words_are_compared_with_few_others_each():
    template = [f"word{number}" for number in range(200)]
    texts = [" ".join([*template[:100], str(number), *template[101:]]) for number in range(100)]
    assert len(pairs_of([sketch_of("text", text) for text in texts])) < 100 * 16 * BUCKET


def test_inputs_of_other_kinds_are_never_compared(page_rows):
    (text, page), _ = page_rows(2)
    sketches = [
        sketch_of("text", text),
        sketch_of("image", page),
        sketch_of("mixed", {"text": text, "image": page}),
    ]
    assert not pairs_of(sketches)


def test_groups_join_what_is_linked_through_others():
    assert group(6, [(4, 2), (2, 0), (5, 3)]).tolist() == [0, 1, 0, 3, 0, 3]
    assert group(3, []).dtype == np.int64
