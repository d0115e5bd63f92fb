"""Templates with placeholders."""

import pytest

from wsctl.cli.recipes.template import fill_template


def test_each_placeholder_gets_its_value_wherever_it_is() -> None:
    assert fill_template("a @{x} b@{x}@{y}\n", {"x": "1", "y": "2"}) == "a 1 b12\n"


def test_a_line_that_is_nothing_but_an_empty_placeholder_goes() -> None:
    assert fill_template("a\n  @{x}\nb @{x}\n", {"x": ""}) == "a\nb \n"


def test_a_line_that_is_nothing_but_a_placeholder_becomes_several_all_as_far_right() -> None:
    assert fill_template("a:\n  @{x}\nb\n", {"x": "1\n  2\n\n3\n"}) == "a:\n  1\n    2\n\n  3\nb\n"


def test_what_is_filled_in_is_not_filled_itself() -> None:
    assert fill_template("@{x}\n@{x}", {"x": "@{y}"}) == "@{y}\n@{y}"


def test_what_other_languages_write_is_no_placeholder() -> None:
    text = "${x} @x {x} $(x) %{x} @{X}"
    assert fill_template(text, {}) == text


def test_a_placeholder_that_nobody_fills_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        fill_template("@{x}", {})
