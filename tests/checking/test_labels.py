"""Labels that nothing can be learnt from, found in all rows without decoding any."""

import math

import pyarrow
import pyarrow.parquet
import pytest

from mmst_cli.checking.check import CheckOptions, run_check
from mmst_cli.config.schema import Config


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e39, None])
def test_a_label_that_is_no_finite_number_is_found(tmp_path, quiet, broken):
    rows = [
        {"a": f"question {i}", "b": f"answer {i} of many", "score": broken if i in (3, 77) else i / 90}
        for i in range(90)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    columns = {"a": {"role": "anchor"}, "b": {"role": "positive"}, "score": {"role": "label"}}
    config = Config.model_validate(
        {
            "output_dir": str(tmp_path / "run"),
            "run_name": "labels",
            "model": {"name_or_path": "builtin:tiny-text"},
            "datasets": {"train": {"use": "train", "path": str(tmp_path / "rows.parquet"), "columns": columns}},
            "loss": [{"type": "CosineSimilarityLoss"}],
        }
    )
    clean = tmp_path / "clean.parquet"
    options = CheckOptions(sample=None, output=tmp_path / "check", model=False, workers=1, write_clean=clean)
    result = run_check(config, options, quiet)
    found = [one for one in result.findings if one.column == "score"]
    assert [(one.kind, one.count, sorted(one.rows)) for one in found] == [("broken", 2, [3, 77])]
    assert result.failed == ["broken"]
    assert pyarrow.parquet.read_metadata(clean).num_rows == 88
    assert "score: " in (tmp_path / "check/check.html").read_text()
