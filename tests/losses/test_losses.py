"""Every loss does what the table in the docs says of it: it trains, or is refused for the reason that stands there."""

import pytest
from loss_table import table, written
from loss_trial import WAYS, caching, try_loss

from mmst_cli.config.signatures import loss_names


@pytest.fixture(scope="module")
def outcomes():
    """Loss to way to what the page says of it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in written() if line.startswith("|")]
    reasons = dict(line.split(". It ", 1) for line in written() if line[:1].isdigit())
    found = {}
    for loss, *cells in rows[2:]:
        words = [f"{reasons[cell[4:-1]][:-1]}" if cell.startswith("no (") else cell for cell in cells]
        found[loss] = dict(zip((*WAYS, "cached"), words, strict=True))
    return found


def test_the_table_has_every_loss_and_is_written_as_it_would_be(outcomes):
    assert set(outcomes) == set(loss_names()) and len(outcomes) > 25
    assert table(outcomes) == written()
    assert all(caching(loss) == said["cached"] for loss, said in outcomes.items())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", loss_names())
def test_a_loss_does_what_the_table_says(loss, way, outcomes, tmp_path):
    assert try_loss(loss, way, tmp_path) == outcomes[loss][way]
