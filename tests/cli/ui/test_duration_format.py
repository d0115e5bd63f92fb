"""How times are written."""

import pytest

from wsctl.cli.ui.duration_format import clock, left, measured


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00")]
)
def test_a_time_that_runs_is_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0:00"), (0, "0:00"), (0.1, "0:01"), (1799.9, "30:00"), (9**999, "876000:00:00")],
)
def test_what_is_left_is_nothing_only_when_it_is_over(seconds: float, text: str) -> None:
    assert left(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 ms"), (0.0123, "12.3 ms"), (1.234, "1.23 s")])
def test_what_was_measured_has_a_unit(seconds: float, text: str) -> None:
    assert measured(seconds) == text
