"""A word comes back as it was from each of the languages."""

import json

import pytest
import yaml
from hypothesis import example, given

from tests.support.written import ODD, WORDS, quoted_words, unit_words
from wsctl.cli.recipes.quoting import (
    check_writable,
    command_word,
    dollars,
    env_word,
    json_word,
    nginx_word,
    unit_path,
    unit_word,
)
from wsctl.errors import UsageError


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
