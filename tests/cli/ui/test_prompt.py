"""The line that a person types."""

from wsctl.cli.ui.prompt import shown_as_typed


def test_control_characters_are_sent_as_they_are_shown() -> None:
    assert shown_as_typed("bell\x07 \x1b[31m \x9b \x1a") == r"bell\x07 \x1b[31m \x9b \x1a"


def test_text_stays_as_it_is() -> None:
    text = "gr\u00fc\u00dfe\u00a0\U0001f469\u200d\U0001f52c\n\tindented"
    assert shown_as_typed(text) == text
