"""Templates with placeholders, and the words that fill them."""

import json

import pytest
import yaml
from hypothesis import example, given

from tests.support.written import ODD, WORDS, quoted_words, unit_words
from wsctl.cli.recipes.template import (
    check_writable,
    command_word,
    dollars,
    env_word,
    fill_template,
    json_word,
    nginx_word,
    unit_path,
    unit_word,
)
from wsctl.errors import UsageError


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


@given(WORDS)
def test_a_word_comes_back_from_a_unit(word: str) -> None:
    assert unit_words(f"{command_word(word)} {command_word(word)}") == [word, word]
    assert quoted_words(unit_word(word)) == [unit_path(word)]
    assert unit_path(word).replace("%%", "%") == word


@given(WORDS)
def test_a_word_comes_back_from_nginx(word: str) -> None:
    assert quoted_words(f"server {nginx_word(word)};".removesuffix(";")) == ["server", word]


@given(WORDS)
@example("\U0001f600\xa0\u200d")
def test_a_word_comes_back_from_json_and_yaml(word: str) -> None:
    assert json.loads(json_word(word)) == word
    assert yaml.safe_load(f"- {json_word(word)}\n- {{a: {json_word(word)}}}") == [word, {"a": word}]


@given(WORDS)
def test_a_word_comes_back_where_dollars_begin_variables(word: str) -> None:
    assert dollars(word).replace("$$", "$") == word
    (found,) = quoted_words(env_word(word))
    assert found == word


@pytest.mark.parametrize("word", [word for word in ODD if "%" not in word])
def test_nothing_odd_stands_there_unquoted(word: str) -> None:
    for quoted in (command_word(word), nginx_word(word), json_word(word), env_word(word)):
        assert (quoted[0], quoted[-1]) == ('"', '"')


def test_a_plain_word_stays_readable() -> None:
    assert command_word("--allow-origin=https://a.example:80") == "--allow-origin=https://a.example:80"
    assert command_word("") == '""'


@pytest.mark.parametrize(
    "character", ["\n", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff", "\udcff", "\uffff"]
)
def test_what_cannot_be_written_everywhere_is_refused_by_name(character: str) -> None:
    with pytest.raises(UsageError, match="no file of settings"):
        check_writable("--root-path", f"a{character}b")
