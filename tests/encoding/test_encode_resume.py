from pathlib import Path

import pytest

from mmst_cli.errors import MmstError
from mmst_cli.media import reading
from mmst_cli.media.image import read_image


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
    encode(["pages"], folder / "out", rows_per_part=2, batch_size=2)
    assert [parts for _, parts in ahead] == [0, 0, 1, 1, 2, 2]
