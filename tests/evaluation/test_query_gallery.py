import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from report_samples import Documents, make_evaluation

from mmst_cli.config.schema import Modality
from mmst_cli.evaluation.evaluation_results import Evaluation, Hits
from mmst_cli.evaluation.query_gallery import KINDS, build_gallery
from mmst_cli.html.previews import EXCERPT, LONG_SIDE, preview


def scored(values, **others):
    """An evaluation with these values per query at its full cell."""
    evaluation = make_evaluation(queries=len(values), dims=(64, 16), precisions=("float32",))
    evaluation.per_query["64 float32"] = np.array(values)
    return replace(evaluation, **others)


def ids(gallery, kind):
    return [item.query_id for item in gallery.kinds.get(kind, [])]


def test_queries_are_chosen_by_score_and_by_change():
    after = scored([0.1, 0.9, 0.5, 0.4, 0.7, 0.3])
    before = scored([0.6, 0.8, 0.1, 0.4, 0.2, 0.0])
    gallery = build_gallery(after, before, Documents(), compared=None, per_kind=2)
    assert list(gallery.kinds) == list(KINDS)
    assert ids(gallery, "best") == ["q1", "q4"]
    assert ids(gallery, "worst") == ["q0", "q5"]
    assert ids(gallery, "improved") == ["q4", "q2"]
    assert ids(gallery, "hurt") == ["q0"]
    assert len(ids(gallery, "sample")) == 2
    worst = gallery.kinds["worst"][0]
    assert (worst.before, worst.after) == (0.6, 0.1)


def test_before_is_matched_by_query_id():
    after = scored([0.5, 0.5], query_ids=["a", "b"])
    before = scored([0.9, 0.1, 0.2], query_ids=["b", "x", "a"])
    gallery = build_gallery(after, before, Documents(), compared=None)
    assert ids(gallery, "improved") == ["a"]
    assert ids(gallery, "hurt") == ["b"]
    only_new = scored([0.5, 0.5], query_ids=["c", "d"])
    assert {item.before for item in build_gallery(only_new, before, Documents(), compared=None).items()} == {None}


def test_the_seed_decides_and_equals_come_in_any_order():
    equal = scored([1.0] * 40)
    first, again, other = (build_gallery(equal, None, Documents(), compared=None, seed=s) for s in (1, 1, 2))
    assert first == again
    assert ids(first, "best") != ids(other, "best")
    assert ids(first, "best") != [f"q{row}" for row in range(4)]
    assert "improved" not in first.kinds


def test_few_queries_are_not_shown_as_best_and_worst_at_once():
    gallery = build_gallery(scored([0.2, 0.4, np.nan]), None, Documents(), compared=None)
    assert ids(gallery, "best") == ["q1", "q0"]
    assert "worst" not in gallery.kinds


def test_what_was_found_is_shown_at_both_cells():
    evaluation = make_evaluation(queries=4, documents=30)
    found = np.arange(10)[None].repeat(4, 0)
    relevant = np.zeros((4, 10), bool)
    relevant[:, 7] = True
    evaluation.hits["64 float32"] = Hits(found, found[:, ::-1] / 10, relevant)
    evaluation.hits["16 binary"] = Hits(found, found[:, ::-1] / 10, relevant & False)
    gallery = build_gallery(evaluation, None, Documents(30), compared="16 binary", per_kind=1)
    full, small = gallery.kinds["best"][0].found
    assert (full.cell, small.cell) == ("64 float32", "16 binary")
    assert [hit.document_id for hit in full.hits] == [f"image:{row}" for row in range(5)]
    assert [hit.rank for hit in full.hits] == [1, 2, 3, 4, 5]
    assert full.hits[0].score == 0.9
    assert (full.right_rank, small.right_rank, full.depth) == (8, None, 10)
    assert full.metric == evaluation.per_query["64 float32"].max()


def test_a_corpus_smaller_than_k_ends_early():
    evaluation = make_evaluation(queries=2)
    padded = np.array([[3, 1, -1, -1]] * 2)
    evaluation.hits["64 float32"] = Hits(padded, np.ones((2, 4)), padded == 3)
    gallery = build_gallery(evaluation, None, Documents(), compared=None)
    found = gallery.kinds["best"][0].found[0]
    assert [hit.document_id for hit in found.hits] == ["image:3", "image:1"]
    assert found.depth == 2


@pytest.mark.parametrize("missing", ["per_query", "hits"])
def test_what_is_not_known_is_not_shown(missing):
    evaluation = replace(make_evaluation(), **{missing: {}})
    gallery = build_gallery(evaluation, None, Documents(), compared="64 float32")
    assert not any(item.found for item in gallery.items())
    assert bool(gallery.kinds) == (missing == "hits")
    assert build_gallery(Evaluation(evaluation.result), None, Documents(), compared=None).kinds == {}


def test_only_what_is_shown_is_decoded_and_only_once():
    evaluation = make_evaluation(queries=500, documents=500)
    documents = Documents(500)
    gallery = build_gallery(evaluation, None, documents, compared="16 binary")
    assert len(documents.read) == len(set(documents.read)) <= len(gallery.items()) * 10


def test_what_cannot_be_decoded_becomes_a_note():
    def broken(index):
        raise OSError("broken data stream")

    documents = Documents(query=broken, document=lambda index: (Modality.image, "not an image"))
    gallery = build_gallery(make_evaluation(), None, documents, compared=None)
    item = gallery.kinds["best"][0]
    assert item.query.note == "Cannot be shown: OSError."
    assert item.found[0].hits[0].document.note == "Cannot be shown: AttributeError."


def jpeg(size=(3000, 2000)):
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def test_thumbnails_are_bounded_and_the_image_given_stays_as_it_is():
    image = Image.effect_noise((3000, 2000), 60).convert("RGB")
    look = preview(lambda: (Modality.image, image))
    assert look.size == (LONG_SIDE, 160)
    assert Image.open(io.BytesIO(look.jpeg)).size == look.size
    assert len(look.jpeg) < 20_000
    assert look.data_uri.startswith("data:image/jpeg;base64,")
    assert image.size == (3000, 2000)


def test_a_narrow_image_keeps_its_shape():
    assert preview(lambda: (Modality.image, Image.new("RGB", (5, 700)))).size == (2, LONG_SIDE)


def test_text_is_shortened():
    assert preview(lambda: (Modality.text, "a  b\n c")).text == "a b c"
    assert preview(lambda: (Modality.text, "x" * 999)).text == "x" * EXCERPT + " …"
    assert preview(lambda: (Modality.text, " ")).note == "Empty text."


def test_several_parts_show_their_text_and_the_first_medium():
    page = Image.new("RGB", (8, 8))
    mixed = preview(lambda: (Modality.mixed, {"text": "a caption", "image": page}))
    assert (mixed.text, mixed.size) == ("a caption", (8, 8))
    chat = [{"role": "system", "content": "Find it."}, {"role": "user", "content": [{"type": "image", "image": page}]}]
    look = preview(lambda: (Modality.message, chat))
    assert (look.text, look.size) == ("Find it.", (8, 8))
    assert preview(lambda: (Modality.mixed, {"text": " "})).note == "Nothing to see."


def test_a_sound_is_a_waveform_and_a_clip_three_of_its_frames():
    beep = np.concatenate([np.zeros(4000), np.ones(4000)]).astype(np.float32)
    look = preview(lambda: (Modality.audio, {"array": beep, "sampling_rate": 8000}))
    assert look.text == "1.0 s of sound"
    drawn = np.asarray(Image.open(io.BytesIO(look.jpeg)).convert("L"))
    assert drawn[4, :100].min() > 200  # silence reaches nowhere
    assert drawn[4, 140:].max() < 200
    frames = np.stack([np.full((10, 12, 3), shade, np.uint8) for shade in (0, 50, 100, 150, 200)])
    strip = preview(lambda: (Modality.video, {"array": frames, "video_metadata": {"fps": 1.0}}))
    assert strip.size == (12 * 3 + 4, 10)
    shades = np.asarray(Image.open(io.BytesIO(strip.jpeg)).convert("L"))[5, [3, 20, 36]]
    assert [int(round(float(s), -1)) for s in shades] == [0, 100, 200]
