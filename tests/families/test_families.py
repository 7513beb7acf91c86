"""Each family does in every command what the table in the docs says of it."""

import pytest
from all_families import FAMILIES
from family_table import PAGE, header, line
from family_trial import try_family, write_media


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    write_media(folder)
    return folder


@pytest.fixture(scope="module")
def table():
    """The lines of the table, without what stands above it."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return lines[lines.index(header()[0]) :]


def test_the_table_has_a_line_for_every_family(table):
    assert table[:2] == header()
    kinds = [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]
    assert [row[0] for row in kinds] == [family.name.removesuffix(", finished") for family in FAMILIES]
    assert len({row[0] for row in kinds}) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(FAMILIES)), ids=[family.name for family in FAMILIES])
def test_a_family_does_what_the_table_says(number, media, table, tmp_path):
    assert line(try_family(FAMILIES[number], media, tmp_path)) == table[2 + number]
