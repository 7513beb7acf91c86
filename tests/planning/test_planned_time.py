"""What a planned run waits for."""

import pytest

from mmst_cli.planning.measured_time import MeasuredTime
from mmst_cli.planning.planned_time import Span, Time


@pytest.mark.parametrize(
    ("computing", "feeding", "limit"), [(3600, 60, "computing"), (60, 3600, "feeding"), (0.1, 0.2, "start")]
)
def test_a_run_waits_for_what_takes_longest(computing, feeding, limit):
    none = Span(0, 0)
    planned = Time(Span(30, 120), Span(computing, computing), feeding, none, 0, 0, Span(20, 90))
    assert planned.limit == limit
    waiting = feeding if feeding > computing else 0
    measured = MeasuredTime(30, max(computing, feeding), waiting, 0, 0, 20)
    assert measured.limit == limit
