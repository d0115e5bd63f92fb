"""Text of others on a terminal."""

import pytest

from wsctl.cli.ui.text import clock, compact, left, measured, printable


@pytest.mark.parametrize("text", ["hello", "grüße", "日本語", "👩‍💻", "می‌خواهم", ""])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31mred", r"\x9b31mred"),
        ("two\nlines\r", r"two\nlines\r"),
        ("bell\a", r"bell\x07"),
        ("\u202eturned", r"\u202eturned"),
        ("\x7f", r"\x7f"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_commands_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_data_is_compact_json_on_one_line() -> None:
    assert compact({"a": [1, None], "b": "é\x1b\x9b"}) == r'{"a":[1,null],"b":"é\u001b\x9b"}'


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
