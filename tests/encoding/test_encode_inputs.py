import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmst_cli.inputs.collection import open_sources


def read_all(path, *columns):
    (source,) = open_sources([str(path)], list(columns))
    return [item.read() for item in source.items()]


def failures(path, *columns):
    (source,) = open_sources([str(path)], list(columns))
    found = {}
    for number, item in enumerate(source.items()):
        try:
            item.read()
        except Exception as error:
            found[number] = str(error)
    return found


def test_a_broken_line_fails_alone(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"good\n\xff\xfe\nalso good\r\n")
    assert list(failures(path)) == [1]
    path.write_bytes(b"  kept spaces \r\n")
    assert read_all(path) == [{"text": "  kept spaces "}]


def test_rows_that_hold_no_text_fail_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "x"}\n{"a": 1}\n{"b": "x"}\n{broken\n[]\n{"a": "y"}\n')
    found = failures(path, "a")
    assert list(found) == [1, 2, 3, 4]
    assert found[1] == "column a holds int, not text"
    assert found[2] == "this row has no column a"


def test_a_cell_that_is_no_utf8_fails_alone(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b'a\ngood\n\xff\n"two\nlines"\n')
    assert list(failures(path, "a")) == [1]


def test_image_columns(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "page.png")
    path = tmp_path / "rows.jsonl"
    values = ["page.png", str(tmp_path / "page.png"), {"path": "page.png"}, "https://host/a.png", "gone.png", None]
    path.write_text("\n".join(json.dumps({"image": value}) for value in values))
    found = failures(path, "image:image")
    assert list(found) == [3, 4, 5]
    assert "nothing is fetched" in found[3]


def test_a_column_name_may_hold_a_colon(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a:text": "x", "a": "y"}\n')
    assert read_all(path, "a:text") == [{"text": "x"}]
    assert read_all(path, "a:text:text") == [{"text": "x"}]


def test_parquet_rows_are_read_only_when_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [str(n) for n in range(200)]}), path, row_group_size=50)
    read_groups = []
    iter_batches = pq.ParquetFile.iter_batches

    def note(self, *args, row_groups, **kwargs):
        for batch in iter_batches(self, *args, row_groups=row_groups, **kwargs):
            read_groups.append(row_groups[0])
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", note)
    (source,) = open_sources([str(path)], ["a"])
    assert source.count == 200
    items = source.items()
    assert next(items).id == f"{path}#0"
    assert set(read_groups) == {0}
    assert list(items)[-1].id == f"{path}#199"


def test_parquet_rows_across_batches_and_groups(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [str(n) for n in range(200)]}), path, row_group_size=90)
    (source,) = open_sources([str(path)], ["a"])
    assert [item.read()["text"] for n, item in enumerate(source.items()) if n >= 77] == [str(n) for n in range(77, 200)]


def test_images_are_turned_upright_and_made_rgb(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.new("L", (4, 8)).save(tmp_path / "turned.jpg", exif=exif)
    (image,) = read_all(tmp_path / "turned.jpg")
    assert (image.size, image.mode) == ((8, 4), "RGB")


@pytest.mark.parametrize("suffix", ["PNG", "jpeg", "webp", "gif", "bmp", "tif", "TIFF"])
def test_image_files_by_suffix(tmp_path, suffix):
    path = tmp_path / f"page.{suffix}"
    Image.new("RGB", (4, 4)).save(path)
    (image,) = read_all(path)
    assert image.size == (4, 4)


def test_columns_that_the_first_line_lacks(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": null}\n{broken\n{"b": [{"role": "user", "content": "x"}]}\n')
    (source,) = open_sources([str(path)], ["b"])
    assert source.kinds == (("message",),)
    found = failures(path, "b")
    assert list(found) == [0, 1]
    assert found[0] == "this row has no column b"
