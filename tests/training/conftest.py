import pytest


@pytest.fixture(scope="module")
def pair():
    """Starts commands in two processes that share their work."""
    from process_pair import ProcessPair

    pair = ProcessPair()
    yield pair
    pair.close()
