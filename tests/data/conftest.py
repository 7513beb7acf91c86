import pytest

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Modality, Role, Use
from mmst_cli.data.preparing import prepare_rows

QUERY_AND_IMAGE = {
    "query": ColumnConfig(Role.anchor),
    "image": ColumnConfig(Role.positive, Modality.image),
}


@pytest.fixture(scope="session")
def section():
    """A function giving a dataset section; the columns are query (text) and image unless others are given."""

    def make(path, columns=None, **fields):
        return DatasetConfig(use=Use.train, path=str(path), columns=columns or QUERY_AND_IMAGE, **fields)

    return make


@pytest.fixture(scope="session")
def prepare(section):
    """A function that prepares the section `train`."""
    return lambda path, columns=None, seed=0, **fields: prepare_rows("train", section(path, columns, **fields), seed)


@pytest.fixture
def parquet(tmp_path):
    """A function that writes columns as pandas does, and returns the file."""
    import pandas

    def write(name="rows.parquet", **columns):
        pandas.DataFrame(columns).to_parquet(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def png(encoded):
    """A function giving the content of a small PNG file of one colour."""
    from PIL import Image

    return lambda colour="red": encoded(Image.new("RGB", (20, 24), colour))


@pytest.fixture
def no_way_out(monkeypatch):
    """Whatever connects or opens an image fails."""
    import socket

    from PIL import Image

    def refuse(*_args, **_kwargs):
        raise AssertionError("connected or opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(Image, "open", refuse)
