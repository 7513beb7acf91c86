"""What the header of a file of separated values says of it, and what is said of one that can't be used."""

from pathlib import Path

import pytest

from mmst_cli.sources.text_rows import header_of, separated_values


def test_a_header_in_another_encoding_is_refused_as_such(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes("Frage,Länge\nwas,1\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"its header: .*0xe4 is not UTF-8\. Save the file as UTF-8"):
        header_of(str(file), ",")


@pytest.mark.parametrize("line", ["Frage;Antwort\nwas;ein Haus, groß\n", '"Frage";"Antwort"\nwas;"ein Haus, groß"\n'])
def test_a_file_of_semicolons_is_read_as_one(tmp_path: Path, line: str) -> None:
    """As Excel writes it where numbers have a decimal comma."""
    file = tmp_path / "rows.csv"
    file.write_text(line, encoding="utf-8")
    assert header_of(str(file), ",") == ["Frage", "Antwort"]
    assert list(separated_values(str(file), ",")) == [{"Frage": "was", "Antwort": "ein Haus, groß"}]


@pytest.mark.parametrize(
    ("line", "names"), [("a;b,c\n1,2\n", ["a;b", "c"]), ('"a;b"\n1\n', ["a;b"]), ("a\n1;2\n", ["a"])]
)
def test_semicolons_beside_commas_or_in_quotation_marks_are_text(tmp_path: Path, line: str, names: list[str]) -> None:
    (tmp_path / "rows.csv").write_text(line, encoding="utf-8")
    assert header_of(str(tmp_path / "rows.csv"), ",") == names
    assert len(list(separated_values(str(tmp_path / "rows.csv"), ","))) == 1


def test_tabs_stay_what_separates_a_tsv(tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("a;b\n1;2\n", encoding="utf-8")
    assert header_of(str(tmp_path / "rows.tsv"), "\t") == ["a;b"]
