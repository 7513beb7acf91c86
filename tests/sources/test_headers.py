"""What is said of the header of a file of separated values that can't be used."""

from pathlib import Path

import pytest

from mmst_cli.sources.text_rows import header_of, separated_values


def test_a_header_in_another_encoding_is_refused_as_such(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes("Frage,Länge\nwas,1\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"its header: .*0xe4 is not UTF-8\. Save the file as UTF-8"):
        header_of(str(file), ",")


def test_a_file_of_semicolons_is_told_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("Frage;Antwort\nwas;ein Haus, groß\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2 has 2 values, and the header 1 \(Frage;Antwort\). .*by commas"):
        list(separated_values(str(file), ","))
