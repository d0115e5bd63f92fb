"""How a client's text is read as a command."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.codes import ErrorCode
from wsctl.server.websocket.commands import (
    MAX_ADDRESSEES,
    MAX_DEPTH,
    MAX_KEY,
    MAX_NUMBER,
    MAX_REF,
    SHAPES,
    PresenceQuery,
    Publish,
    Renew,
    Subscribe,
    Unsubscribe,
    WrongCommand,
    read_command,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

PIECES = st.sampled_from(
    [
        *('{"type":"publish"', '"data":', '"ref":', '"topics":["a.>"]', '"topic":"a"', '"to":["bob"]', ","),
        *("[" * 3, "]" * 3, "{", "}", '"', "NaN", "1e999", "9" * 40, "null", "true", "\\ud800", "\ud800"),
    ]
)


def written(**fields: Any) -> str:
    return json.dumps(fields)


def wrong(text: str) -> WrongCommand:
    found = read_command(text)
    assert isinstance(found, WrongCommand), found
    return found


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (written(type="publish", data=None), Publish(None, None)),
        (
            written(type="publish", ref="a", data=[1], topic="a.b", to=["bob", "bob"], key="k"),
            Publish("a", [1], "a.b", ("bob",), "k"),
        ),
        (written(type="publish", data=1, topic=None, to=None, key=None, ref=None), Publish(None, 1)),
        (written(type="subscribe", ref=-7, topics=["a.*", "b.>", "a.*"]), Subscribe(-7, ("a.*", "b.>"))),
        (
            written(type="subscribe", topics=["a"], since="1-0", events=False),
            Subscribe(None, ("a",), "1-0", False),
        ),
        (written(type="unsubscribe", topics=["a.>"]), Unsubscribe(None, ("a.>",))),
        (written(type="presence", topic="a"), PresenceQuery(None, "a")),
        (written(type="renew", token=""), Renew(None, "")),
        (' \n{"token":"x","type":"\\u0072enew"}', Renew(None, "x")),
    ],
)
def test_each_command_is_read_with_its_fields(text: str, command: object) -> None:
    assert read_command(text) == command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a command is a JSON object: this is no JSON"),
        ("hello", "a command is a JSON object: this is no JSON"),
        ('{"type":"publish","data":' + "9" * 5000 + "}", "a command is a JSON object: this is no JSON"),
        (
            '{"type":"publish","data":NaN}',
            "a command is a JSON object: NaN and Infinity are no numbers of it",
        ),
        (
            '{"type":"renew","type":"publish","data":1}',
            "a command is a JSON object: a name comes twice in an object",
        ),
        (
            '{"type":"publish","data":{"a":1,"a":2}}',
            "a command is a JSON object: a name comes twice in an object",
        ),
        ("[" * 100_000, "a command is nested 64 deep at most"),
        ("[]", "a command is a JSON object"),
        ('"x"', "a command is a JSON object"),
        (
            '{"ref":1.0}',
            "ref is a text of at most 64 characters, or a whole number up to 9007199254740991",
        ),
        (
            '{"ref":true}',
            "ref is a text of at most 64 characters, or a whole number up to 9007199254740991",
        ),
        (
            written(ref="x" * (MAX_REF + 1)),
            "ref is a text of at most 64 characters, or a whole number up to 9007199254740991",
        ),
        (
            written(ref=MAX_NUMBER + 1),
            "ref is a text of at most 64 characters, or a whole number up to 9007199254740991",
        ),
    ],
)
def test_what_is_no_command_is_told_without_a_ref(text: str, message: str) -> None:
    assert wrong(text) == WrongCommand(None, ErrorCode.BAD_COMMAND, message)


TYPES = "type is one of publish, subscribe, unsubscribe, presence, renew"


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({}, "bad_command", TYPES),
        ({"type": 5}, "bad_command", TYPES),
        ({"type": "Publish"}, "unknown_command", TYPES),
        ({"type": "publish"}, "bad_command", "publish needs data"),
        (
            {"type": "publish", "data": 1, "topics": ["a"]},
            "bad_command",
            "publish has no other fields than data, topic, to, key, traceparent",
        ),
        ({"type": "publish", "data": 1, "topic": 5}, "bad_command", "topic is a text"),
        ({"type": "publish", "data": 1, "topic": ""}, "bad_topic", None),
        ({"type": "publish", "data": 1, "topic": "a.*"}, "bad_topic", None),
        ({"type": "publish", "data": 1, "to": "bob"}, "bad_command", "to is a list of client ids"),
        ({"type": "publish", "data": 1, "to": ["server"]}, "bad_command", None),
        ({"type": "publish", "data": 1, "to": ["bob"] * (MAX_ADDRESSEES + 1)}, "bad_command", None),
        ({"type": "publish", "data": 1, "key": ""}, "bad_command", None),
        ({"type": "publish", "data": 1, "key": "x" * (MAX_KEY + 1)}, "bad_command", None),
        ({"type": "publish", "data": 1, "key": "\ud800"}, "bad_command", None),
        ({"type": "subscribe", "topics": []}, "bad_command", "topics is a list of topics, at least one"),
        ({"type": "subscribe", "topics": "a"}, "bad_command", "topics is a list of topics, at least one"),
        ({"type": "subscribe", "topics": [["a"]]}, "bad_command", "topics is a list of topics, at least one"),
        ({"type": "subscribe", "topics": None}, "bad_command", "topics is a list of topics, at least one"),
        ({"type": "subscribe", "topics": ["a"] * 1001}, "bad_command", "topics has at most 1000 topics"),
        ({"type": "subscribe", "topics": ["a", "a..b"]}, "bad_topic", None),
        ({"type": "subscribe", "topics": ["a.*"], "events": True}, "bad_topic", None),
        ({"type": "subscribe", "topics": ["a"], "events": 1}, "bad_command", "events is true or false"),
        ({"type": "subscribe", "topics": ["a"], "since": "a b"}, "bad_command", None),
        ({"type": "presence", "topic": "a.*"}, "bad_topic", None),
        ({"type": "renew", "token": 5}, "bad_command", "token is a text"),
    ],
)
def test_what_is_wrong_with_a_command_is_told_with_its_ref(
    fields: dict[str, Any], code: str, message: str | None
) -> None:
    found = wrong(written(ref="mine", **fields))
    assert (found.ref, found.code) == ("mine", code)
    assert message in (None, found.message)


@pytest.mark.parametrize(("depth", "taken"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, False), (900, False)])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_data_are_nested_to_a_bound(depth: int, taken: bool, opening: str, closing: str) -> None:
    text = f'{{"type":"publish","ref":1,"data":{opening * depth}1{closing * depth}}}'
    found = read_command(text)
    assert isinstance(found, Publish) == taken
    assert found.ref == 1


def test_brackets_within_texts_are_not_depth() -> None:
    assert isinstance(read_command(written(type="publish", data="[{" * 500)), Publish)


@examples(300)
@given(JSON)
def test_any_json_is_data(data: object) -> None:
    assert read_command(written(type="publish", ref=1, data=data)) == Publish(1, data)


@examples(500)
@example('{"type":[]}')
@example('{"type":{},"ref":"\\ud800"}')
@given(st.text() | st.lists(PIECES, max_size=12).map("".join) | JSON.map(json.dumps))
def test_whatever_the_text_there_is_an_answer(text: str) -> None:
    found = read_command(text)
    if isinstance(found, WrongCommand):
        assert "\n" not in found.message
        assert len(found.message) < 250


@examples(300)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.dictionaries(
        st.sampled_from(["data", "topic", "topics", "to", "key", "since", "events", "token", "ref", "more"]),
        JSON,
    ),
)
def test_whatever_the_fields_the_ref_comes_back_if_it_is_one(name: str, fields: dict[str, Any]) -> None:
    found = read_command(written(**fields | {"type": name}))
    ref = fields.get("ref")
    is_ref = isinstance(ref, str) and len(ref) <= MAX_REF
    is_number = type(ref) is int and abs(ref) <= MAX_NUMBER
    assert found.ref == (ref if is_ref or is_number else None)
