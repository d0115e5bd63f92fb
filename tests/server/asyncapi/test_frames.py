"""What is described is what is encoded, in both directions."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.frames import Frame, checked, is_valid, read, validator_of
from tests.support.sizes import examples
from wsctl import client_ids, messages
from wsctl.codes import ErrorCode
from wsctl.drain.phases import Phase
from wsctl.server.asyncapi.frames import CLIENT_ID, COMMANDS, FRAMES
from wsctl.server.websocket.admission import MAX_SINCE
from wsctl.server.websocket.commands import MAX_NUMBER, MAX_REF, SHAPES, WrongCommand, read_command
from wsctl.topics import InvalidTopic, topic_name, topic_pattern

PARTS = {"encode", "body", "numbered"}
"""What returns bytes that are not yet a frame of one type."""

SEVERAL = {"invitations": "shutdown"}
"""What returns several frames of a type at once."""

OTHERS = {"published": "ok"}
"""What encodes frames of a type in one case of it."""

Examples = st.SearchStrategy[bytes]

NAMES = st.text("aZ7é.:_-", min_size=1, max_size=5).map("b".__add__)
IDS = st.from_regex(r"[0-9]{1,13}-[0-9]{1,4}", fullmatch=True)
SECONDS = st.floats(0, 1e10)
COUNTS = st.integers(0, 1 << 40)
CLIENTS = COUNTS.map(lambda n: n + 1)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | SECONDS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ADDRESSEES = st.lists(NAMES, unique=True, max_size=3).map(tuple)


TOPICS = st.sampled_from(["news", "orders.eu.42"])
LOST = st.lists(st.sampled_from(["news", "orders.*", ">"]), min_size=1, unique=True)
REFS = st.text(max_size=MAX_REF) | st.integers(-MAX_NUMBER, MAX_NUMBER)
CODES = st.sampled_from(ErrorCode)


def an_ok(**told: st.SearchStrategy[Any]) -> Examples:
    return st.builds(messages.ok, **told)


PRESENT = st.lists(st.fixed_dictionaries({"client_id": NAMES, "connections": CLIENTS}), max_size=3)


RATES = st.builds(messages.Allowance, st.sampled_from([20, 0.5]), st.integers(1, 10**6), COUNTS)


def a_message(
    to: st.SearchStrategy[Any],
    topic: st.SearchStrategy[Any],
    traceparent: st.SearchStrategy[Any] = st.none(),  # noqa: B008
) -> Examples:
    sender = NAMES | st.just(client_ids.SERVER)
    made = st.builds(
        messages.Message, IDS, SECONDS, sender, ANYTHING, to, topic=topic, traceparent=traceparent
    )
    return st.builds(messages.message, made)


def a_welcome(
    recovered: st.SearchStrategy[Any],
    degraded: st.SearchStrategy[bool],
    keepalive_s: st.SearchStrategy[int],
    lost: st.SearchStrategy[Any],
    rate: st.SearchStrategy[Any],
) -> Examples:
    phases = st.sampled_from(Phase)
    version = st.just("1.2.3")
    others = {
        "connections": CLIENTS,
        "degraded": degraded,
        "keepalive_s": keepalive_s,
        "lost": lost,
        "rate": rate,
    }
    return st.builds(messages.welcome, NAMES, IDS, version, phases, recovered, **others)


def a_shutdown(reconnect_in_s: st.SearchStrategy[Any]) -> Examples:
    return st.builds(messages.shutdown, st.none() | SECONDS, st.text(), reconnect_in_s)


FEWEST: dict[str, Examples] = {
    "welcome": a_welcome(st.none(), st.just(False), st.just(0), st.just(()), st.none()),
    "message": a_message(st.none(), st.none()),
    "heartbeat": st.builds(messages.heartbeat, SECONDS, COUNTS, CLIENTS),
    "keepalive": st.builds(messages.keepalive),
    "shutdown": a_shutdown(st.none()),
    "error": st.builds(messages.error, CODES, st.text()),
    "renewed": st.builds(messages.renewed, SECONDS),
    "ok": an_ok(),
    "joined": st.builds(messages.joined, TOPICS, NAMES),
    "left": st.builds(messages.left, TOPICS, NAMES),
}
"""By type, frames with no optional field."""

MOST: dict[str, Examples] = FEWEST | {
    "welcome": a_welcome(st.booleans(), st.just(True), st.sampled_from(messages.KEEPALIVE), LOST, RATES),
    "message": a_message(ADDRESSEES, st.sampled_from(["news", "orders.eu.42"]), st.just("00-0a-0b-01")),
    "shutdown": a_shutdown(SECONDS),
    "error": st.builds(messages.error, CODES, st.text(), REFS, LOST),
    "ok": an_ok(
        ref=REFS,
        id=IDS,
        repeated=st.just(True),
        recovered=st.booleans(),
        lost=LOST,
        count=COUNTS,
        clients=PRESENT,
        expires_in_s=SECONDS,
    ),
}
"""The same with each."""

each_type = pytest.mark.parametrize("kind", FRAMES)


def encoders() -> set[str]:
    """The functions of `wsctl.messages` that return bytes."""
    found = inspect.getmembers(messages, inspect.isfunction)
    encoding = (bytes, list[bytes])
    return {
        name
        for name, function in found
        if function.__module__ == messages.__name__
        and not name.startswith("_")
        and inspect.signature(function, eval_str=True).return_annotation in encoding
    }


def test_each_encoder_has_a_schema_and_each_schema_an_encoder() -> None:
    assert encoders() - PARTS - set(SEVERAL) - set(OTHERS) == set(FRAMES)
    assert set(FEWEST) == set(MOST) == set(FRAMES)
    assert encoders() >= PARTS | set(SEVERAL) | set(OTHERS)


@each_type
@examples(40)
@given(data=st.data())
def test_whatever_is_encoded_is_as_described(kind: str, data: st.DataObject) -> None:
    assert read(data.draw(FEWEST[kind] | MOST[kind]))["type"] == kind


@given(st.text(), st.lists(st.floats(0, 1e6), max_size=3))
def test_so_is_an_invitation(reason: str, moments: list[float]) -> None:
    for told in messages.invitations(60.5, reason, moments):
        assert read(told)["type"] == SEVERAL["invitations"]


@given(st.none() | REFS, IDS)
def test_so_is_the_answer_to_a_message(ref: Any, message_id: str) -> None:
    told = json.loads(messages.published(ref, message_id))
    assert told == json.loads(messages.ok(ref, id=message_id))
    assert checked(told)["type"] == OTHERS["published"]


def objects(schema: dict[str, Any], *path: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Each schema of an object in a schema, with the way to it."""
    if schema.get("type") == "object":
        yield path, schema
        for name, inner in schema["properties"].items():
            yield from objects(inner, *path, name)


def at(frame: Frame, path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        frame = frame[name]
    return frame


def has(frame: Frame, path: tuple[str, ...]) -> bool:
    """Whether there is such an object, which may be optional itself."""
    return not path or (path[0] in frame and has(frame[path[0]], path[1:]))


@each_type
@examples(10)
@given(data=st.data())
def test_what_is_required_is_always_there_and_what_is_optional_not(kind: str, data: st.DataObject) -> None:
    fewest, most = (json.loads(data.draw(frames[kind])) for frames in (FEWEST, MOST))
    for path, schema in objects(FRAMES[kind]):
        assert set(at(fewest if has(fewest, path) else most, path)) == set(schema["required"])
        assert set(at(most, path)) == set(schema["properties"])


@each_type
@examples(10)
@given(data=st.data())
def test_a_field_less_or_more_or_of_another_kind_is_noticed(kind: str, data: st.DataObject) -> None:
    encoded = data.draw(MOST[kind])
    for path, schema in objects(FRAMES[kind]):
        for name in schema["required"]:
            frame = json.loads(encoded)
            del at(frame, path)[name]
            assert not is_valid(frame), (path, name)
        for name in set(schema["properties"]) - {"data"}:
            frame = json.loads(encoded)
            at(frame, path)[name] = {"wrong": []}
            assert not is_valid(frame), (path, name)
        frame = json.loads(encoded)
        at(frame, path)["more"] = 1
        assert not is_valid(frame), path


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"news"}',
        '{"type":"heartbeat","ts":NaN,"connections":1,"n":1}',
        '{"type":"heartbeat","ts":1,"connections":1,"n":1,"n":1}',
        *("{}", "[]", "null", "", "x"),
    ],
)
def test_what_no_server_sends_does_not_pass_the_tests(text: str) -> None:
    with pytest.raises((AssertionError, ValueError, AttributeError)):
        read(text)


@examples(300)
@given(st.text(st.characters(max_codepoint=127), min_size=1, max_size=4))
def test_of_ascii_the_pattern_takes_just_what_is_an_id(text: str) -> None:
    try:
        is_id = bool(client_ids.client_id(text))
    except client_ids.InvalidClientId:
        is_id = False
    assert validator_of("clientId").is_valid(text) == is_id


@examples(200)
@given(st.text(st.characters(categories=["L", "Nd", "Mn", "Mc"]), min_size=1, max_size=6))
def test_every_id_of_any_script_passes_it(text: str) -> None:
    try:
        name = client_ids.client_id("a" + text)
    except client_ids.InvalidClientId:
        assume(False)  # some marks show nothing
    assert validator_of("clientId").is_valid(name)
    assert re.search(CLIENT_ID["pattern"], name)


@examples(500)
@given(st.text("aZ0_~@:+-.*> é", max_size=8))
def test_just_what_is_a_topic_and_what_is_a_pattern_pass_their_schemas(text: str) -> None:
    assert validator_of("topic").is_valid(text) == is_taken(topic_name, text)
    assert validator_of("topicPattern").is_valid(text) == is_taken(topic_pattern, text)


@pytest.mark.parametrize("last", ["a", "*", ">"])
def test_the_bounds_of_topics_are_the_servers(last: str) -> None:
    deepest, longest = ".".join(["a"] * 15 + [last]), "a" * 126 + "." + last
    schema = validator_of("topic" if last == "a" else "topicPattern")
    assert [schema.is_valid(text) for text in (deepest, "a." + deepest)] == [True, False]
    assert [schema.is_valid(text) for text in (longest, "a" + longest)] == [True, False]


def is_taken(check: Callable[[str], str], text: str) -> bool:
    try:
        return bool(check(text))
    except InvalidTopic:
        return False


def test_the_bounds_of_ids_are_the_servers() -> None:
    longest = "a" * client_ids.MAX_CLIENT_ID
    clients, ids = validator_of("clientId"), validator_of("messageId")
    assert clients.is_valid(longest)
    for wrong in ("", longest + "a", client_ids.SERVER):
        assert not clients.is_valid(wrong)
    assert ids.is_valid("1" * MAX_SINCE)
    for wrong in ("", "1" * (MAX_SINCE + 1), "1 0", "é"):
        assert not ids.is_valid(wrong)


def test_each_command_has_a_schema_with_its_fields() -> None:
    assert set(COMMANDS) == set(SHAPES)
    for kind, shape in SHAPES.items():
        schema = COMMANDS[kind]
        assert set(schema["required"]) == {"type", *shape.required}
        assert set(schema["properties"]) == {"type", "ref", *shape.required, *shape.optional}


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "ref": REFS,
    "data": ANYTHING,
    "topic": TOPICS,
    "to": st.lists(NAMES, max_size=3),
    "key": st.text("aZ 9-é", min_size=1, max_size=128),
    "traceparent": ANYTHING,
    "topics": LOST,
    "since": IDS,
    "events": st.just(False),
    "token": st.text(),
}
"""By name, values that a field of a command may have."""


@st.composite
def commands(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(list(COMMANDS)))
    schema = COMMANDS[kind]
    names = [name for name in schema["properties"] if name in schema["required"] or draw(st.booleans())]
    return {name: kind if name == "type" else draw(FIELDS[name]) for name in names}


@given(commands())
def test_a_command_as_described_is_understood(command: dict[str, Any]) -> None:
    assert validator_of(command["type"]).is_valid(command)
    assert isinstance(read_command(json.dumps(command)), SHAPES[command["type"]].kind)


@given(commands(), st.data())
def test_what_is_no_command_is_none_as_described(command: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in command if FIELDS.get(name) is not ANYTHING]))
    less = {other: value for other, value in command.items() if other != name}
    for wrong in (command | {name: {"wrong": []}}, command | {"more": 1}, less):
        is_one = wrong is less and name not in COMMANDS[command["type"]]["required"]
        assert validator_of(command["type"]).is_valid(wrong) == is_one
        assert isinstance(read_command(json.dumps(wrong)), WrongCommand) == (not is_one)


@given(st.text())
def test_a_wish_to_renew_as_described_is_understood(token: str) -> None:
    wish = {"type": "renew", "token": token}
    assert validator_of("renew").is_valid(wish)
    assert messages.renewal(json.dumps(wish)) == messages.Renewal(token)
    for wrong in ({"type": "renew"}, wish | {"token": 5}, wish | {"more": 1}):
        assert not validator_of("renew").is_valid(wrong)


def test_each_code_of_an_error_is_listed_beside_those_of_applications() -> None:
    for code in ErrorCode:
        checked({"type": "error", "code": str(code), "message": ""})
    assert is_valid({"type": "error", "code": "too_rude", "message": ""})
    assert not is_valid({"type": "error", "code": "No code!", "message": ""})
