"""Encoding by Ray: the files of one process, whichever worker is killed, and one sentence where it cannot be."""

import sys
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import psutil
import pytest
import ray

from mmst_cli import processes
from mmst_cli.config.schema import Modality
from mmst_cli.encoding import ray_cluster, ray_engine
from mmst_cli.encoding.encoder import Encoder
from mmst_cli.encoding.ray_cluster import Shares, joined
from mmst_cli.encoding.ray_embed import EmbeddedBlock, Scout
from mmst_cli.encoding.ray_engine import RayEngine
from mmst_cli.encoding.ray_place import Place
from mmst_cli.encoding.ray_prepare import ReadHere
from mmst_cli.encoding.ray_walk import Walk
from mmst_cli.errors import MmstError, ModelError, WorkError
from mmst_cli.inputs.items import Source
from mmst_cli.media.content import find_content

RAY = {"engine": "ray", "num_processes": 2}
ONE_MODEL = {"engine": "ray", "num_processes": 1}  # each imports torch first


@pytest.fixture(scope="module")
def cluster():
    """A Ray on this machine with room for two actors, which all tests share."""
    with joined(2) as shares:
        assert (shares.actors, shares.on_gpu) == (2, False)
        yield


@pytest.fixture
def texts(tmp_path):
    """Texts of many lengths, one of them broken, as many as take a few seconds."""
    path = tmp_path / "texts.txt"
    lines = [b"page %d %s\n" % (number, b"has a red header " * (number % 7)) for number in range(8_000)]
    lines[4_321] = b"\xff\xfe no text\n"
    path.write_bytes(b"".join(lines))
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parts(folder):
    return sorted(path.name for path in folder.glob("part-*.parquet"))


def stop_after(count, encode, inputs, output, monkeypatch, **options):
    """Begin a job, and stop it by Ctrl-C when so many parts are whole."""
    write = Encoder._write

    def write_until(self, encoded, writer):
        if len(parts(output)) == count:
            raise KeyboardInterrupt
        write(self, encoded, writer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Encoder, "_write", write_until)
        encode(inputs, output, **options)
    assert len(parts(output)) == count


class Killer(threading.Thread):
    """Kills a process that prepares inputs while it does its first, and one with a model once it did some."""

    def __init__(self, output):
        super().__init__(daemon=True)
        self.output, self.begun, self.killed, self.done = output, parts(output), {}, []

    def run(self):
        until = time.monotonic() + 300
        while len(self.killed) < 2 and time.monotonic() < until:
            self.kill("ray::MapBatches(prepare_block)")
            if parts(self.output) > self.begun:
                self.kill("ray::MapWorker(MapBatches(Embed))")
                self.done = parts(self.output)
            time.sleep(0.01)

    def kill(self, title):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it ended meanwhile
                if title not in self.killed and title in "".join(process.cmdline()):
                    process.kill()
                    self.killed[title] = process.pid


@pytest.mark.slow
def test_killed_workers_lose_and_double_nothing(cluster, tmp_path, texts, encode, monkeypatch):
    """Of a job that one process began, which Ray goes on with."""
    inputs, options = [str(texts)], {"model": "builtin:tiny-text", "rows_per_part": 700}
    alone = encode(inputs, tmp_path / "alone", **options)
    stop_after(1, encode, inputs, tmp_path / "shared", monkeypatch, **options)
    killer = Killer(tmp_path / "shared")
    killer.start()
    shared = encode(inputs, tmp_path / "shared", **options, **RAY, workers=1, resume=True)
    killer.join(1)
    assert len(killer.killed) == 2 and 1 < len(killer.done) < 12
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")  # one broken line, told of once
    assert (shared.count, shared.failed) == (alone.count, alone.failed) == (7_999, 1)


@pytest.mark.slow
def test_texts_are_prepared_where_the_model_is(cluster, tmp_path, encode, monkeypatch):
    """Each process that only prepares would import torch first."""
    (tmp_path / "texts.txt").write_text("a page\nanother page\n")
    monkeypatch.setattr(ray_engine, "prepare_block", None)
    assert encode([str(tmp_path / "texts.txt")], tmp_path / "out", model="builtin:tiny-text", **ONE_MODEL).count == 2


@pytest.mark.parametrize(
    ("kind", "workers", "actors", "threads"),
    [("text", None, 1, 4), ("text", None, 3, 1), ("text", 2, 1, 1), ("image", None, 1, 1), ("image", 0, 2, 2)],
)
def test_models_share_all_processors_where_nothing_is_prepared_beside_them(
    kind, workers, actors, threads, quiet, monkeypatch, tmp_path
):
    engine = RayEngine(SimpleNamespace(folder=tmp_path), actors, workers, quiet)
    engine._shares, engine._place = Shares(actors, False, 1, 1, True), Place(tmp_path, 1)
    engine._scout = SimpleNamespace(load=None)
    monkeypatch.setattr(engine, "_ask", lambda *_: (SimpleNamespace(encoder=None), []))
    monkeypatch.setattr(ray_engine, "processors", lambda: 4)
    engine.load(None, None, None, [Source("texts.txt", ((Modality(kind),),), list, None)], None)
    assert engine._loading.place.threads == threads


@pytest.mark.slow
def test_one_process_goes_on_with_what_ray_began(cluster, folder, encode, monkeypatch):
    (folder / "pages" / "2.png").write_bytes(b"no image")
    options = {"rows_per_part": 2, "batch_size": 2}
    alone = encode(["pages"], folder / "alone", **options)
    stop_after(2, encode, ["pages"], folder / "begun", monkeypatch, **options, **ONE_MODEL)
    done = encode(["pages"], folder / "begun", **options, resume=True)
    assert (done.count, done.failed) == (alone.count, alone.failed) == (5, 1)
    assert contents(folder / "begun") == contents(folder / "alone")


def test_what_the_model_cannot_do_is_a_sentence_of_what_looks_at_it(folder, model_folder, encode):
    class Here(RayEngine):
        """Has no Ray, and looks at the model as where Ray was begun for the command."""

        def __enter__(self):
            self._shares, self._place = Shares(1, False, 1, 1, True), Place(self._opening.folder, 1)
            self._scout = Scout(self._place)
            return self

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ModelError, match="--dim 9999"):
        patch.setattr(ray_engine, "RayEngine", Here)
        patch.setattr(ray, "get", lambda found: found)
        patch.setattr(ray, "put", lambda found: found)
        encode(["pages"], folder / "v", dim=9999, **RAY)
    assert not (folder / "v").exists()


def test_models_take_gpus_where_there_are_some(cluster, tmp_path):
    """Ray Data asks more of actors with a GPU, and does so when a pipeline is put together."""
    engine = RayEngine(None, None, None, None)
    engine._shares, engine._place, engine._loading = Shares(2, True, 0, 1, False), Place(tmp_path, None), None
    engine._seen = SimpleNamespace(anywhere=True, prepare=None, sources=[])
    assert "Embed" in repr(engine._pipeline(Walk(None, 0, 1, 1, {}, False)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "spark"}, "--engine: spark; there is local and ray"),
        ({**RAY, "num_processes": 0}, "--num-processes: 0"),
        ({**RAY, "batch_size": None}, "--batch-size auto: .* Write a number"),
        ({**RAY, "inputs": ["-"]}, "a .txt file"),
        ({**RAY, "RAY_ADDRESS": "ray://head:10001"}, "RAY_ADDRESS"),
        ({**RAY, "launched": True}, "without a launcher"),
        ({**RAY, "missing": True}, "pip install 'mmst-cli\\[ray\\]'"),
        ({**RAY, "inputs": ["nowhere/"]}, "nowhere"),
    ],
)
def test_refused_before_ray_is_begun(options, said, folder, encode, monkeypatch):
    monkeypatch.setattr(ray_cluster, "joined", lambda _: pytest.fail("begun"))
    inputs = options.pop("inputs", ["pages"])
    if options.pop("missing", False):
        monkeypatch.setitem(sys.modules, "ray.data", None)
    if address := options.pop("RAY_ADDRESS", None):
        monkeypatch.setenv("RAY_ADDRESS", address)
    if options.pop("launched", False):
        for name, value in zip(processes.VARIABLES, ("0", "0", "2", "127.0.0.1", "1"), strict=True):
            monkeypatch.setenv(name, value)
    with pytest.raises(MmstError, match=said):
        encode(inputs, folder / "v", **options)
    assert not (folder / "v").exists()


def test_a_file_that_only_the_command_sees_is_named(tmp_path, monkeypatch):
    """A node without the folder that the command was begun with finds no file; that one is there is seen here."""
    elsewhere = ReadHere(lambda path: (find_content(path), None))
    with pytest.raises(Exception, match="no such file"):
        elsewhere(str(tmp_path / "page.png"))
    (tmp_path / "page.png").write_bytes(b"page")
    engine = object.__new__(RayEngine)
    engine._say = lambda _: None
    with pytest.raises(WorkError, match=r"page\.png: .* all nodes see"):
        engine._heard(EmbeddedBlock([], [], elsewhere.take_missing()))
    assert engine._heard(EmbeddedBlock([], [], [str(tmp_path / "nowhere.png")]))
