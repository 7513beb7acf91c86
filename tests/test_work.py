"""What makes work resumable: the record of the job, whole parts, and what is cleared."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmst_cli.errors import ConfigError, RunError
from mmst_cli.work import (
    begin_job,
    check_choice,
    check_same_job,
    own_entries,
    parquet_metadata,
    part_path,
    read_job,
)

JOB = {"rows": "12", "settings": {"limits": {"max": 0.5}, "index": "exact"}, "pages": [1, 2]}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_record_is_read_back(tmp_path):
    begin_job(tmp_path / "a" / "work", JOB)
    assert read_job(tmp_path / "a" / "work") == JOB
    assert names(tmp_path / "a" / "work") == ["job.json"]
    check_same_job(tmp_path, read_job(tmp_path / "a" / "work"), {**JOB, "pages": (1, 2)})


@pytest.mark.parametrize("content", [None, "", "[1", "3", '{"rows"'])
def test_a_record_that_cannot_be_read_is_none(content, tmp_path):
    if content is not None:
        (tmp_path / "job.json").write_text(content)
    assert read_job(tmp_path) is None
    with pytest.raises(RunError, match=r"has no readable job\.json\. Add --overwrite"):
        check_same_job(tmp_path, None, JOB)


def test_the_first_setting_that_differs_is_named():
    other = json.loads(json.dumps(JOB)) | {"pages": [3]}
    other["settings"]["limits"]["max"] = 0.75
    with pytest.raises(RunError, match=r"out was begun with settings\.limits\.max 0\.75, and now it is 0\.5\."):
        check_same_job("out", other, JOB)
    with pytest.raises(RunError, match=r"pages \[3\], and now it is \[1, 2\]\. .* to begin anew\."):
        check_same_job("out", {**JOB, "pages": [3]}, JOB)


def test_what_an_older_record_lacks_may_be_none():
    check_same_job("out", JOB, {**JOB, "ranges": None, "prompts": {}})
    check_same_job("out", {**JOB, "ranges": None}, JOB)
    with pytest.raises(RunError, match="ranges null, and now it is 1"):
        check_same_job("out", JOB, {**JOB, "ranges": 1})


def test_only_what_a_command_wrote_is_its_own(tmp_path):
    patterns = ("job.json", "part-*.parquet", ".*.partial", ".work")
    assert own_entries(tmp_path / "new", patterns) == own_entries(tmp_path, patterns) == []
    (tmp_path / ".work").mkdir()
    for name in ("job.json", "part-00000.parquet", ".part-00001.parquet.partial"):
        (tmp_path / name).touch()
    assert [path.name for path in own_entries(tmp_path, patterns)] == names(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match=r"--output: .* holds other files, such as notes\.txt\. Name another folder"):
        own_entries(tmp_path, patterns)
    with pytest.raises(RunError, match="is a file; name a folder"):
        own_entries(tmp_path / "notes.txt", patterns)


def test_what_is_stale_goes_and_what_is_kept_stays(tmp_path):
    kept, other = (part_path(tmp_path, "part", number) for number in range(2))
    work = tmp_path / ".work"
    work.mkdir()
    for path in (kept, other, work / "vectors.npy"):
        path.touch()
    begin_job(tmp_path, JOB, stale=[kept, other, work, tmp_path / "gone"], keep={kept})
    assert names(tmp_path) == ["job.json", "part-00000.parquet"]


def test_a_part_is_whole_if_it_says_what_it_is(tmp_path):
    path = part_path(tmp_path, "part", 3)
    assert path.name == "part-00003.parquet"
    assert part_path(tmp_path, "query", 12, ".npy").name == "query-00012.npy"
    assert parquet_metadata(path) is None
    pq.write_table(pa.table({"a": [1]}, schema=pa.schema([("a", pa.int64())], metadata={"note": "b"})), path)
    assert (parquet_metadata(path) or {})[b"note"] == b"b"
    path.write_bytes(path.read_bytes()[:-9])
    assert parquet_metadata(path) is None


def test_keeping_and_replacing_exclude_each_other():
    check_choice(resume=True, overwrite=False)
    with pytest.raises(ConfigError, match="Choose one"):
        check_choice(resume=True, overwrite=True)
