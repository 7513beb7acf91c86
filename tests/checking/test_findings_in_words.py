"""What a check says of texts and labels."""

import numpy as np
import pytest

from mmst_cli.checking.column_statistics import _is_tellable, _labels


@pytest.mark.parametrize(
    ("text", "tellable"),
    [
        ("amber birches", False),
        ("where is the amber birch", True),
        ("東京タワーはどこにありますか", True),
        ("a b c d", False),
    ],
)
def test_a_language_is_told_of_texts_that_are_long_enough(text, tellable):
    assert _is_tellable(text) is tellable


def test_labels_that_are_lists_are_described_without_counting_them():
    facts = _labels(np.array([str([0.1, 0.2]), str([0.1, 0.3]), str([0.1, 0.2])]))
    assert facts == {"role": "label", "rows": 3, "different": 2}
