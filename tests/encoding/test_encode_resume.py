import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmst_cli.aside import set_aside
from mmst_cli.encoding.shards import RECORD_KEY
from mmst_cli.errors import MmstError
from mmst_cli.media import file_stamps, reading
from mmst_cli.media.file_stamps import stamp_of_file
from mmst_cli.media.image import read_image
from mmst_cli.output_claim import claimed
from mmst_cli.work import parquet_metadata


@pytest.fixture
def interrupted(folder, encode, monkeypatch):
    """An output of two inputs a part, interrupted at the fifth of six; the first can't be read."""
    (folder / "pages" / "0.png").write_bytes(b"")

    def stop_at_fourth(file, **options):
        if Path(file).name == "4.png":
            raise KeyboardInterrupt
        return read_image(file, **options)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_image", stop_at_fourth)
        with pytest.raises(KeyboardInterrupt):
            encode(["pages"], folder / "out", rows_per_part=2)
    return folder / "out"


def files(output):
    return {path.name: path.read_bytes() for path in output.iterdir()}


def test_an_interruption_leaves_whole_parts_only(interrupted):
    assert set(files(interrupted)) == {"part-00000.parquet", "part-00001.parquet", "_job.json", "_errors.jsonl"}


def test_resumed_equals_undisturbed_and_reads_nothing_twice(folder, encode, interrupted, monkeypatch):
    read = []

    def note(file, **options):
        read.append(Path(file).name)
        return read_image(file, **options)

    monkeypatch.setattr(reading, "read_image", note)
    (interrupted / ".part-00002.parquet.partial").write_bytes(b"left by a killed process")
    resumed = encode(["pages"], interrupted, rows_per_part=2, resume=True)
    assert read == ["4.png", "5.png"]
    undisturbed = encode(["pages"], folder / "undisturbed", rows_per_part=2)
    assert files(interrupted) == files(folder / "undisturbed")
    assert (resumed.count, resumed.parts, resumed.failed) == (5, 3, 1)
    assert (undisturbed.count, undisturbed.parts, undisturbed.failed) == (5, 3, 1)


def test_resuming_a_finished_output_changes_nothing(folder, encode):
    encode(["pages"], folder / "out", rows_per_part=4)
    before = files(folder / "out")
    result = encode(["pages"], folder / "out", rows_per_part=4, resume=True)
    assert files(folder / "out") == before
    assert result.count == 6


def test_resume_of_nothing_begins(folder, encode):
    assert encode(["pages"], folder / "out", resume=True).count == 6


def test_a_broken_part_is_made_again(folder, encode):
    encode(["pages"], folder / "out", rows_per_part=2)
    before = files(folder / "out")
    (folder / "out" / "part-00001.parquet").write_bytes(b"half")
    encode(["pages"], folder / "out", rows_per_part=2, resume=True)
    assert files(folder / "out") == before


@pytest.mark.parametrize("change", [{"dim": 8}, {"batch_size": 3}, {"rows_per_part": 3}, {"prompt_name": "query"}])
def test_resume_of_another_job_is_refused(change, encode, interrupted):
    before = files(interrupted)
    with pytest.raises(MmstError, match=f"was begun with {next(iter(change))}"):
        encode(["pages"], interrupted, **{"rows_per_part": 2, "resume": True, **change})
    assert files(interrupted) == before


def test_resume_notices_changed_inputs(folder, encode, interrupted, pages):
    pages[0].save(folder / "pages" / "00.png")
    with pytest.raises(MmstError, match=r"no longer those of part-00000\.parquet"):
        encode(["pages"], interrupted, rows_per_part=2, resume=True)


def test_a_replaced_picture_is_encoded_anew(folder, encode, pages, said):
    """Its part and those behind it are made again; the result is that of a folder that was so from the beginning."""
    encode(["pages"], folder / "out", rows_per_part=2)
    before = files(folder / "out")
    pages[0].save(folder / "pages" / "3.png")
    encode(["pages"], folder / "out", rows_per_part=2, resume=True)
    assert "inputs of part-00001.parquet have changed since it was made: it is made again" in said.getvalue()
    encode(["pages"], folder / "undisturbed", rows_per_part=2)
    assert files(folder / "out") == files(folder / "undisturbed")
    assert files(folder / "out")["part-00000.parquet"] == before["part-00000.parquet"]
    assert files(folder / "out")["part-00001.parquet"] != before["part-00001.parquet"]


def test_a_file_that_was_only_touched_is_the_same(folder, encode, said):
    encode(["pages"], folder / "out", rows_per_part=2)
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("part-*")}
    for path in (folder / "pages").rglob("*.png"):
        path.touch()
    encode(["pages"], folder / "out", rows_per_part=2, resume=True)
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("part-*")} == before


def write_table(ending, folder, texts):
    path = folder / f"rows{ending}"
    if ending == ".txt":
        path.write_text("".join(f"{text}\n" for text in texts))
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    elif ending == ".parquet":
        pq.write_table(
            pa.table({"text": texts}), path, compression="none", use_dictionary=False, write_statistics=False
        )
    else:
        path.write_text("text\n" + "".join(f"{text}\n" for text in texts))
    return path.name


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".csv", ".parquet"])
def test_a_text_of_the_same_length_is_encoded_anew(ending, folder, encode):
    columns = None if ending == ".txt" else ["text"]
    name = write_table(ending, folder, ["red", "tan", "sky", "ash"])
    encode([name], folder / "out", rows_per_part=2, columns=columns)
    before = files(folder / "out")
    write_table(ending, folder, ["red", "tan", "sky", "oak"])
    encode([name], folder / "out", rows_per_part=2, columns=columns, resume=True)
    encode([name], folder / "undisturbed", rows_per_part=2, columns=columns)
    assert files(folder / "out") == files(folder / "undisturbed")
    assert files(folder / "out")["part-00000.parquet"] == before["part-00000.parquet"]
    assert files(folder / "out")["part-00001.parquet"] != before["part-00001.parquet"]


@pytest.mark.parametrize("cells", ["paths", "bytes"])
def test_a_replaced_picture_of_a_table_is_encoded_anew(cells, folder, encode, pages):
    def write():
        paths = [f"pages/{number}.png" for number in range(4)]
        images = paths if cells == "paths" else [{"bytes": Path(path).read_bytes(), "path": None} for path in paths]
        pq.write_table(pa.table({"page": images}), folder / "rows.parquet", compression="none")

    def encoded(output, **more):
        encode(["rows.parquet"], folder / output, rows_per_part=2, columns=["page:image"], **more)
        return files(folder / output)

    write()
    before = encoded("out")
    shown = (folder / "pages" / "3.png").read_bytes()
    pages[5].save(folder / "pages" / "3.png")
    changed = (folder / "pages" / "3.png").read_bytes()
    size = max(len(shown), len(changed))  # the table's size is in the record of the job, and would be refused
    (folder / "pages" / "3.png").write_bytes(shown.ljust(size, b"\0"))
    if cells == "bytes":
        write()
        before = encoded("out", overwrite=True)
    (folder / "pages" / "3.png").write_bytes(changed.ljust(size, b"\0"))
    write()
    after = encoded("out", resume=True)
    assert after == encoded("undisturbed")
    assert after["part-00000.parquet"] == before["part-00000.parquet"]
    assert after["part-00001.parquet"] != before["part-00001.parquet"]


class Stdin:
    def __init__(self, *texts):
        self.buffer = io.BytesIO("".join(f"{text}\n" for text in texts).encode())


def test_other_text_on_stdin_is_encoded(folder, encode, monkeypatch):
    monkeypatch.setattr("sys.stdin", Stdin("red", "tan", "sky", "ash"))
    encode(["-"], folder / "out", rows_per_part=2)
    before = files(folder / "out")
    for output, resume in (("out", True), ("undisturbed", False)):
        monkeypatch.setattr("sys.stdin", Stdin("red", "tan", "oak", "ash"))
        encode(["-"], folder / output, rows_per_part=2, resume=resume)
    assert files(folder / "out") == files(folder / "undisturbed")
    assert files(folder / "out")["part-00000.parquet"] == before["part-00000.parquet"]
    assert files(folder / "out")["part-00001.parquet"] != before["part-00001.parquet"]


def test_parts_of_before_contents_were_noted_are_gone_on_with(folder, encode):
    encode(["pages"], folder / "out", rows_per_part=2)
    for path in (folder / "out").glob("part-*"):
        table, record = pq.read_table(path), json.loads((parquet_metadata(path) or {})[RECORD_KEY.encode()])
        del record["contents_sha256"]
        pq.write_table(table.replace_schema_metadata({RECORD_KEY: json.dumps(record)}), path)
    (folder / "out" / "part-00002.parquet").unlink()
    kept = files(folder / "out")["part-00000.parquet"]
    assert encode(["pages"], folder / "out", rows_per_part=2, resume=True).count == 6
    assert files(folder / "out")["part-00000.parquet"] == kept


def test_the_middle_and_the_time_of_a_large_file(tmp_path, monkeypatch):
    monkeypatch.setattr(file_stamps, "WHOLE", 300)
    monkeypatch.setattr(file_stamps, "PIECE", 20)
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(300))
    large.write_bytes(bytes(301))
    stamps = [stamp_of_file(path) for path in (small, large)]
    os.utime(small, ns=(1, 1))
    os.utime(large, ns=(1, 1))
    assert stamp_of_file(small) == stamps[0]
    assert stamp_of_file(large) != stamps[1]
    small.write_bytes(bytes(150) + b"1" + bytes(149))
    assert stamp_of_file(small) != stamps[0]
    assert stamp_of_file(tmp_path / "gone") == b""


@pytest.fixture
def failing(monkeypatch):
    """Let the encoding fail at a page."""

    def at(name):
        def read(file, **options):
            if Path(file).name == name:
                raise KeyboardInterrupt
            return read_image(file, **options)

        monkeypatch.setattr(reading, "read_image", read)

    return at


def test_overwriting_that_comes_to_nothing_leaves_what_was_there(folder, encode, failing, said):
    encode(["pages"], folder / "out", rows_per_part=2)
    before = files(folder / "out")
    failing("1.png")
    with pytest.raises(KeyboardInterrupt):
        encode(["pages"], folder / "out", rows_per_part=2, dim=8, overwrite=True)
    assert files(folder / "out") == before
    assert "are there again, as they were" in said.getvalue()


def test_overwriting_can_be_gone_on_with_from_its_first_part(folder, encode, failing, monkeypatch):
    encode(["pages"], folder / "out", rows_per_part=2)
    failing("3.png")
    with pytest.raises(KeyboardInterrupt):
        encode(["pages"], folder / "out", rows_per_part=2, dim=8, overwrite=True)
    assert set(files(folder / "out")) == {"part-00000.parquet", "_job.json"}
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    encode(["pages"], folder / "out", rows_per_part=2, dim=8, resume=True)
    encode(["pages"], folder / "undisturbed", rows_per_part=2, dim=8)
    assert files(folder / "out") == files(folder / "undisturbed")


def test_killed_before_its_first_part_what_was_to_be_overwritten_is_there_again(folder, encode, said):
    encode(["pages"], folder / "out", rows_per_part=2)
    before = files(folder / "out")
    set_aside(folder / "out", list((folder / "out").iterdir()))
    (folder / "out" / "_job.json").write_text("{}")
    (folder / "out" / ".part-00000.parquet.partial").write_bytes(b"half")
    with pytest.raises(MmstError, match="holds vectors"):
        encode(["pages"], folder / "out", rows_per_part=2)
    assert files(folder / "out") == before


def test_two_at_once_are_refused(folder, encode):
    with claimed(folder / "out", "--output"), pytest.raises(MmstError, match=r"^--output: .*out is in use by"):
        encode(["pages"], folder / "out")


def test_resume_notices_a_retrained_model(folder, encode, model, tmp_path):
    import copy

    retrained = copy.deepcopy(model)
    folder_of_model = tmp_path / "model"
    retrained.save_pretrained(str(folder_of_model), create_model_card=False)
    encode(["pages"], folder / "out", model=str(folder_of_model))
    for parameter in retrained.parameters():
        parameter.data += 0.001
    retrained.save_pretrained(str(folder_of_model), create_model_card=False)
    with pytest.raises(MmstError, match="was begun with weights"):
        encode(["pages"], folder / "out", model=str(folder_of_model), resume=True)


def test_inputs_are_read_as_they_are_needed(folder, encode, monkeypatch):
    """No more than one part's inputs are read before the part stands on disk."""
    ahead = []

    def note(file, **options):
        parts = len(list((folder / "out").glob("part-*.parquet")))
        ahead.append((Path(file).name, parts))
        return read_image(file, **options)

    monkeypatch.setattr(reading, "read_image", note)
    encode(["pages"], folder / "out", rows_per_part=2, batch_size=2, workers=0)
    assert [parts for _, parts in ahead] == [0, 0, 1, 1, 2, 2]
