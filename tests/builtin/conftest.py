import pytest


@pytest.fixture(scope="session")
def files_of():
    """A function giving the contents of a folder's files by relative name."""

    def read(folder):
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return read
