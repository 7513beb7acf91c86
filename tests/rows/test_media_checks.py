import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import datasets
import numpy
import pytest
from PIL import Image

from mmst_cli.errors import DataError
from mmst_cli.media.image import read_image

QUERIES = ["a red page", "a green page", "a blue page"]
COLOURS = ["red", "green", "blue"]
RGB = [(255, 0, 0), (0, 128, 0), (0, 0, 255)]


@pytest.fixture
def files(tmp_path, png):
    """Three pages in a folder beside the file of rows."""
    (tmp_path / "pages").mkdir()
    for colour in COLOURS:
        (tmp_path / "pages" / f"{colour}.png").write_bytes(png(colour))
    return [f"pages/{colour}.png" for colour in COLOURS]


@pytest.fixture
def fault(prepare):
    def of(path, **fields):
        with pytest.raises(DataError) as caught:
            prepare(path, **fields)
        return str(caught.value)

    return of


def colours(rows):
    images = list(rows.values(rows.columns[1]))
    assert all(isinstance(image, Image.Image) for image in images)
    return [image.convert("RGB").getpixel((0, 0)) for image in images]


def test_binary_columns(parquet, prepare, png):
    assert colours(prepare(parquet(query=QUERIES, image=[png(c) for c in COLOURS]))) == RGB


@pytest.mark.parametrize("rest", [{}, {"path": None}, {"path": "not/there.png"}])
def test_embedded_images_as_pandas_writes_them(rest, parquet, prepare, png):
    assert colours(prepare(parquet(query=QUERIES, image=[{"bytes": png(c), **rest} for c in COLOURS]))) == RGB


def test_embedded_images_as_datasets_writes_them(tmp_path, prepare, png):
    features = datasets.Features({"query": datasets.Value("string"), "image": datasets.Image()})
    rows = [{"query": q, "image": {"bytes": png(c), "path": None}} for q, c in zip(QUERIES, COLOURS, strict=True)]
    saved = datasets.Dataset.from_list(rows, features=features)
    saved.save_to_disk(tmp_path / "saved")
    saved.to_parquet(str(tmp_path / "rows.parquet"))
    assert colours(prepare(tmp_path / "saved")) == colours(prepare(tmp_path / "rows.parquet")) == RGB


def test_an_image_folder(tmp_path, files, prepare):
    lines = [{"file_name": path, "query": query} for path, query in zip(files, QUERIES, strict=True)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert colours(prepare(tmp_path)) == RGB


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_paths_are_relative_to_the_file(suffix, tmp_path, files, prepare, monkeypatch):
    table = datasets.Dataset.from_dict({"query": QUERIES, "image": files})
    path = tmp_path / f"rows.{suffix}"
    {"jsonl": table.to_json, "csv": table.to_csv, "parquet": table.to_parquet}[suffix](str(path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert colours(prepare(path)) == colours(prepare(f"../rows.{suffix}")) == RGB


def test_paths_from_the_root_and_the_home_folder(tmp_path, files, prepare, parquet, monkeypatch):
    assert colours(prepare(parquet(query=QUERIES, image=[str(tmp_path / path) for path in files]))) == RGB
    monkeypatch.setenv("HOME", str(tmp_path))
    assert colours(prepare(parquet(query=QUERIES, image=[f"~/{path}" for path in files]))) == RGB


def test_paths_without_bytes(parquet, prepare, files, png):
    images = [{"bytes": None, "path": files[0]}, {"bytes": png("green"), "path": "gone"}, {"path": files[2]}]
    assert colours(prepare(parquet(query=QUERIES, image=images))) == RGB


def test_paths_of_chosen_rows(parquet, prepare, files):
    rows = prepare(parquet(query=QUERIES, image=files), max_rows=2)
    expected = dict(zip(QUERIES, RGB, strict=True))
    assert colours(rows) == [expected[query] for query in rows.rows[:]["query"]]


def test_repeated_paths_and_upward_ones(parquet, prepare, files):
    paths = [files[0], f"pages/../{files[1]}", f"./{files[2]}"]
    assert colours(prepare(parquet(query=QUERIES, image=paths))) == RGB


def test_a_missing_image_names_row_and_column(parquet, fault, files, tmp_path):
    message = fault(parquet(query=QUERIES, image=[files[0], "pages/gone.png", "gone too"]))
    assert message == f"datasets.train, row 1, column image: no such image file: {tmp_path / 'pages/gone.png'}"


@pytest.mark.parametrize(
    "value",
    ["a sentence, not a page", "one / two " * 300, "data:image/png;base64," + "iVBO/" * 400, "", ".", "pages", "a\0b"],
)
def test_what_is_no_image_file_is_never_text(value, parquet, fault, files):
    message = fault(parquet(query=QUERIES, image=[*files[:2], value]))
    assert message.startswith("datasets.train, row 2, column image: no such image file: ")
    assert len(message) < 400


def test_the_home_folder_of_nobody(parquet, fault, files):
    assert "row 2" in fault(parquet(query=QUERIES, image=[*files[:2], "~nobody-at-all/a.png"]))


def test_numbers_declared_images(parquet, fault):
    message = fault(parquet(query=QUERIES, image=[1, 2, 3]))
    assert message.startswith("datasets.train.columns.image: declared image, but the column holds int64.")


def test_structures_declared_images(parquet, fault):
    assert "declared image, but the column holds a structure of a." in fault(
        parquet(query=QUERIES, image=[{"a": 1}] * 3)
    )


@pytest.mark.parametrize("nothing", [None, {"bytes": None, "path": None}])
def test_an_empty_cell(nothing, parquet, fault, png):
    embedded = {"bytes": png(), "path": None}
    message = fault(parquet(query=QUERIES, image=[embedded, nothing, embedded]))
    assert message.startswith("datasets.train, row 1, column image: nothing there.")


def test_an_empty_cell_among_paths(parquet, fault, files):
    assert "row 1, column image: nothing there." in fault(parquet(query=QUERIES, image=[files[0], None, files[2]]))


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_arrays(shape, parquet, prepare):
    arrays = [numpy.random.default_rng(n).integers(0, 256, shape, numpy.uint8) for n in range(3)]
    rows = prepare(parquet(query=QUERIES, image=[array.tolist() for array in arrays]))
    for array, image in zip(arrays, rows.values(rows.columns[1]), strict=True):
        assert image.size == (6, 4)
        assert numpy.array_equal(numpy.asarray(image), numpy.asarray(read_image(array)))


@pytest.mark.parametrize("feature", [datasets.Array2D((4, 6), "uint8"), datasets.Array3D((4, 6, 3), "uint8")])
def test_array_columns_of_datasets(feature, tmp_path, prepare):
    arrays = [numpy.full(feature.shape, 60 * n, numpy.uint8) for n in range(3)]
    features = datasets.Features({"query": datasets.Value("string"), "image": feature})
    rows = {"query": QUERIES, "image": arrays}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    assert colours(prepare(tmp_path / "saved")) == [(0, 0, 0), (60, 60, 60), (120, 120, 120)]


@pytest.mark.parametrize(
    ("array", "found"),
    [
        ([[0.0, 0.5], [0.5, 1.0]], "shape (2, 2) of float64"),
        ([1, 2], "shape (2,) of int64"),
        ([[[1, 2], [3, 4]]], "shape (1, 2, 2) of int64"),
        ([[]], "shape (1, 0)"),
        ([[0, 256]], "found 0 to 256"),
        ([[-1, 5]], "found -1 to 5"),
        ([[1, 2], [3]], "differ in length"),
    ],
)
def test_arrays_that_are_no_images(array, found, parquet, fault):
    message = fault(parquet(query=QUERIES, image=[array] * 3))
    assert message.startswith("datasets.train, row 0, column image: ")
    assert found in message


@pytest.fixture
def server(png, tmp_path, monkeypatch):
    """A loopback server of PNG files; ``server.asked`` are the paths that were fetched."""
    monkeypatch.setenv("MMST_CACHE", str(tmp_path / "cache"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            found = "gone" not in self.path
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(b"<html>" if "html" in self.path else png(self.path.strip("/").split(".")[0]))

        def log_message(self, *_args):
            pass

    asked = []
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    serving.asked, serving.url = asked, f"http://127.0.0.1:{serving.server_port}"
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_addresses_are_refused_unless_allowed(server, parquet, fault, files):
    url = f"{server.url}/red.png"
    for image in (url, {"bytes": None, "path": url}):
        message = fault(parquet(query=QUERIES, image=[image] * 3))
        assert message.startswith(f"datasets.train, row 0, column image: found the address {url}")
        assert "allow_urls: true" in message
    assert server.asked == []


def test_addresses_are_fetched_once(server, parquet, prepare, files):
    path = parquet(query=QUERIES, image=[f"{server.url}/red.png", files[1], f"{server.url}/blue.png"])
    assert colours(prepare(path, allow_urls=True)) == RGB
    assert server.asked == ["/red.png", "/blue.png"]
    assert colours(prepare(path, allow_urls=True)) == RGB
    assert server.asked == ["/red.png", "/blue.png"]


def test_an_address_may_hold_spaces_and_letters(server, parquet, prepare):
    urls = [f"{server.url}/{name}" for name in ("red.a b.png", "green.ü.png", "blue.a%20b.png?x=1&y=[2]")]
    assert colours(prepare(parquet(query=QUERIES, image=urls), allow_urls=True)) == RGB
    assert server.asked[2] == "/blue.a%20b.png?x=1&y=[2]"


def test_an_address_with_nothing_behind_it(server, parquet, fault, tmp_path):
    message = fault(
        parquet(query=QUERIES, image=[f"{server.url}/{p}.png" for p in ("red", "gone", "blue")]), allow_urls=True
    )
    assert message.startswith("datasets.train, row 1, column image: ")
    assert "404" in message
    assert len(list((tmp_path / "cache" / "media").iterdir())) == 1


@pytest.mark.parametrize("url", ["http://[half/a.png", "http://127.0.0.1:1/a.png", "http://127.0.0.1:notaport/a.png"])
def test_an_address_that_leads_nowhere(url, parquet, fault):
    message = fault(parquet(query=QUERIES, image=[url] * 3), allow_urls=True)
    assert message.startswith(f"datasets.train, row 0, column image: {url} can't be fetched: ")


def test_an_address_of_no_image(server, parquet, fault):
    images = [f"{server.url}/{path}" for path in ("red.png", "page.html", "blue.png")]
    message = fault(parquet(query=QUERIES, image=images), allow_urls=True)
    assert message.startswith("datasets.train, row 1, column image: ")
    assert message.endswith(": no image format that is known. Replace the file, or remove the row.")


def test_images_turn_as_their_camera_was_held(parquet, prepare):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    file = io.BytesIO()
    Image.new("RGB", (20, 10)).save(file, "JPEG", exif=exif)
    rows = prepare(parquet(query=QUERIES, image=[file.getvalue()] * 3))
    assert next(rows.values(rows.columns[1])).size == (10, 20)
