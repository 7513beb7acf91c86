import os

import datasets
import pypdfium2
import pytest
from PIL import Image

from mmst_cli.config.schema import ColumnConfig, Modality, Role
from mmst_cli.media.reading import Reader
from mmst_cli.rows.row_keys import row_keys

ANCHOR = ColumnConfig(role=Role.anchor)


@pytest.fixture
def keys(prepare, monkeypatch):
    """A function giving the keys of prepared rows by column; decoding anything fails."""

    def of(path, columns=None):
        rows = prepare(path, columns)
        with monkeypatch.context() as patch:
            patch.setattr(Reader, "read", lambda *_args: pytest.fail("decoded"))
            found = row_keys(rows)
        assert found.column_names == [column.name for column in rows.columns]
        assert len(found) == len(rows)
        return found[:]

    return of


def same(keys):
    """Which rows have the same key: for each, the first such row."""
    return [keys.index(key) for key in keys]


def pictures(role=Role.positive, **fields):
    return {"query": ANCHOR, "image": ColumnConfig(role=role, **({"modality": Modality.image} | fields))}


def test_texts_stand_for_themselves(parquet, keys):
    found = keys(
        parquet(query=["a", "b", "a"], page=["a", "x", "y"], score=[1, 0, 1]),
        {"query": ANCHOR, "page": ColumnConfig(role=Role.positive), "score": ColumnConfig(role=Role.label)},
    )
    assert found == {"query": ["a", "b", "a"], "page": ["a", "x", "y"], "score": [1, 0, 1]}


def test_the_path_beside_the_bytes_does_not_matter(parquet, keys, png):
    images = [{"bytes": png(c), "path": p} for c, p in (("red", "a"), ("blue", "b"), ("red", "c"), ("blue", None))]
    assert same(keys(parquet(query=["a"] * 4, image=images))["image"]) == [0, 1, 0, 1]


def test_the_same_image_in_another_column(parquet, keys, png):
    columns = pictures() | {"hard": ColumnConfig(role=Role.negative, modality=Modality.image)}
    found = keys(parquet(query=["a", "b"], image=[png("red"), png("blue")], hard=[png("blue"), png("red")]), columns)
    assert found["image"] == found["hard"][::-1]


def test_files_are_told_apart_by_content(parquet, keys, png, tmp_path):
    for name, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
        (tmp_path / f"{name}.png").write_bytes(png(colour))
    images = ["a.png", str(tmp_path / "b.png"), "c.png", "a.png"]
    assert same(keys(parquet(query=["a"] * 4, image=images))["image"]) == [0, 0, 2, 0]


def test_a_file_that_differs_only_inside_is_another(keys, parquet, tmp_path):
    for name, side, colour in (
        ("a", 300, 1),
        ("b", 300, 2),
        ("copy", 300, 1),
        ("c", 2500, 1),
        ("d", 2500, 2),
        ("again", 2500, 1),
    ):
        picture = Image.new("RGB", (side, side))
        picture.paste((colour,) * 3, (0, side // 3, side, 2 * side // 3))  # the same length and the same ends
        picture.save(tmp_path / f"{name}.bmp")
    os.utime(tmp_path / "again.bmp", (1, 1))
    images = [f"{name}.bmp" for name in ("a", "b", "copy", "c", "d", "again")]
    found = keys(parquet(query=["q"] * 6, image=images))["image"]
    assert same(found) == [0, 1, 0, 3, 4, 3]


def test_arrays_of_another_shape_or_type(parquet, keys):
    arrays = [[[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4], [5, 6]], [[1, 2, 3], [4, 5, 6]]]
    assert same(keys(parquet(query=["a"] * 3, image=arrays))["image"]) == [0, 1, 0]


def test_parts(parquet, keys, png):
    columns = {"query": ANCHOR, "both": ColumnConfig(role=Role.positive, parts={"text": "ocr", "image": "page"})}
    ocr, page = ["x", "x", "x", None, "y", None, "x"], ["red", "blue", None, "red", "red", "red", "red"]
    path = parquet(query=["q"] * 7, ocr=ocr, page=[png(c) if c else None for c in page])
    found = keys(path, columns)["both"]
    assert same(found) == [0, 1, 2, 3, 4, 3, 0]
    assert found[2] == "x"  # a text alone is that text


def test_a_text_part_that_names_a_file_is_text(parquet, keys, png, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())
    columns = {"query": ANCHOR, "both": ColumnConfig(role=Role.positive, parts={"text": "ocr", "image": "page"})}
    found = keys(parquet(query=["q"] * 2, ocr=["a.png", "b.png"], page=["a.png", "b.png"]), columns)
    assert same(found["both"]) == [0, 1]


def test_messages(parquet, keys, png, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())

    def chat(text, image):
        parts = [{"type": "text", "text": text, "image": None}, {"type": "image", "text": None, "image": image}]
        return [{"role": "user", "content": parts}]

    path = parquet(query=["q"] * 3, chat=[chat("x", "a.png"), chat("y", "a.png"), chat("x", "b.png")])
    columns = {"query": ANCHOR, "chat": ColumnConfig(role=Role.positive, modality=Modality.message)}
    assert same(keys(path, columns)["chat"]) == [0, 1, 0]
    texts = ['[{"role": "user", "content": "x"}]', '[{"role":"user","content":"x"}]', '[{"role":"user","content":"y"}]']
    assert same(keys(parquet(query=["q"] * 3, chat=texts), columns)["chat"]) == [0, 0, 2]


def test_templates(parquet, keys):
    message = [{"role": "user", "content": [{"text": "{title}: {body}"}]}]
    columns = {"query": ANCHOR, "chat": ColumnConfig(role=Role.positive, message=message)}
    path = parquet(query=["q"] * 3, title=["a", "a: b", "a"], body=["b: c", "c", "x"])
    assert same(keys(path, columns)["chat"]) == [0, 0, 2]


def test_entries_of_lists(parquet, keys):
    found = keys(
        parquet(query=["a", "b"], page=[["x", "y"], ["x"]], hard=[["u", "v"], ["v", "u"]]),
        {"query": ANCHOR, "page": ColumnConfig(role=Role.positive), "hard": ColumnConfig(role=Role.negative)},
    )
    assert found["query"] == ["a", "a", "b"]
    assert found["page"] == ["x", "y", "x"]
    assert (found["hard_0"], found["hard_1"]) == (["u", "u", "v"], ["v", "v", "u"])


def test_pages_of_documents(parquet, keys, tmp_path):
    for name, count in (("m.pdf", 2), ("n.pdf", 3)):
        document = pypdfium2.PdfDocument.new()
        for _ in range(count):
            document.new_page(30, 30)
        document.save(tmp_path / name)
    (tmp_path / "copy.pdf").write_bytes((tmp_path / "m.pdf").read_bytes())
    pages = ["m.pdf", "n.pdf#1", "copy.pdf#2", "m.pdf#2"]
    found = keys(parquet(query=["a", "b", "c", "d"], image=pages))
    assert found["query"] == ["a", "a", "b", "c", "d"]
    assert same(found["image"]) == [0, 1, 2, 1, 1]


def test_weighted_rows_keep_their_order(parquet, prepare):
    from dataclasses import replace

    columns = {"query": ANCHOR, "page": ColumnConfig(role=Role.positive)}
    rows = prepare(parquet(query=["a", "b"], page=[["x", "y"], ["z"]]), columns)
    chosen = replace(rows, rows=rows.rows.select([2, 0, 0]))
    assert row_keys(chosen)[:] == {"query": ["b", "a", "a"], "page": ["z", "x", "x"]}


def test_keys_of_a_saved_dataset(tmp_path, keys, png):
    features = datasets.Features({"query": datasets.Value("string"), "image": datasets.Image()})
    rows = {"query": ["a", "b"], "image": [{"bytes": png(), "path": None}] * 2}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    assert same(keys(tmp_path / "saved")["image"]) == [0, 0]
