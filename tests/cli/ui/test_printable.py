"""Text of others on a terminal."""

import pytest

from wsctl.cli.ui.printable import compact, printable


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
