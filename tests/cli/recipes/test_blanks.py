"""Templates with blanks."""

import pytest

from wsctl.cli.recipes.blanks import filled


def test_each_blank_gets_its_value_wherever_it_is() -> None:
    assert filled("a @{x} b@{x}@{y}\n", {"x": "1", "y": "2"}) == "a 1 b12\n"


def test_a_line_that_is_nothing_but_an_empty_blank_goes() -> None:
    assert filled("a\n  @{x}\nb @{x}\n", {"x": ""}) == "a\nb \n"


def test_a_line_that_is_nothing_but_a_blank_becomes_several_all_as_far_right() -> None:
    assert filled("a:\n  @{x}\nb\n", {"x": "1\n  2\n\n3\n"}) == "a:\n  1\n    2\n\n  3\nb\n"


def test_what_is_filled_in_is_not_filled_itself() -> None:
    assert filled("@{x}\n@{x}", {"x": "@{y}"}) == "@{y}\n@{y}"


def test_what_other_languages_write_is_no_blank() -> None:
    text = "${x} @x {x} $(x) %{x} @{X}"
    assert filled(text, {}) == text


def test_a_blank_that_nobody_fills_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        filled("@{x}", {})
