"""How frames are spelled."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl import messages
from wsctl.client_ids import InvalidClientId, client_id
from wsctl.messages import Message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@examples(150)
@given(JSON)
def test_any_json_survives_a_message(data: object) -> None:
    wire = messages.message(Message("1-0", 1.5, "bob", data))
    assert b"\n" not in wire
    assert json.loads(wire.decode()) == {
        "type": "message",
        "id": "1-0",
        "ts": 1.5,
        "from": "bob",
        "data": data,
    }


def test_a_lone_surrogate_stays_escaped() -> None:
    assert json.loads(messages.encode({"a": "\ud800é"})) == {"a": "\ud800é"}


@given(JSON | st.text(st.characters(), max_size=20), st.floats(0, 2e9), st.sampled_from([None, "a.b:c@d"]))
def test_a_message_is_written_as_the_encoder_would(data: object, ts: float, topic: str | None) -> None:
    named = {} if topic is None else {"topic": topic}
    frame = {"ts": ts, "from": "bob-\u00fc", **named, "data": data}
    written = messages.body(ts, "bob-\u00fc", data, topic=topic)
    assert json.loads(written) == frame
    if "\\ud" not in written.decode():
        assert written == messages.encode(frame)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        messages.encode({"data": [number]})


def test_only_a_direct_message_names_its_addressees() -> None:
    direct = json.loads(messages.message(Message("1-0", 0.0, "server", 1, ("bob", "eve"))))
    assert direct["to"] == ["bob", "eve"]
    assert "to" not in json.loads(messages.message(Message("1-0", 0.0, "server", 1)))


@examples(100)
@given(JSON, st.lists(st.sampled_from(["bob", "eve", "Zo\u00eb"]), unique=True), st.booleans())
def test_each_addressee_sees_itself_alone_unless_all_are_shown(
    data: object, to: list[str], shown: bool
) -> None:
    wire = messages.message(Message("1-0", 1.5, "server", data, tuple(to), shown))
    whole = json.loads(wire)
    made = messages.addressed(wire, to)
    for name in ("bob", "eve", "Zo\u00eb"):
        expected = whole if shown else whole | {"to": [name]}
        assert json.loads(made(name)) == expected


@pytest.mark.parametrize("data", [{"to": ["bob", "eve"]}, [',"to":["bob","eve"]}'], ["to", ["bob", "eve"]]])
def test_data_that_looks_like_addressees_stays_whole(data: object) -> None:
    for to, shown in ((("bob", "eve"), True), (("bob", "eve"), False)):
        wire = messages.message(Message("1-0", 1.5, "server", data, to, shown))
        assert json.loads(messages.addressed(wire, to)("bob"))["data"] == data


def test_a_welcome_says_whether_anything_was_lost_only_when_asked() -> None:
    assert json.loads(messages.welcome("bob", "1-0", "9", "serving", None, connections=2)) == {
        "type": "welcome",
        "client_id": "bob",
        "id": "1-0",
        "server": {"version": "9", "phase": "serving", "connections": 2},
    }
    assert (
        json.loads(messages.welcome("bob", "1-0", "9", "serving", False, connections=2))["recovered"] is False
    )


def is_client_id(text: str) -> bool:
    try:
        return client_id(text) == text
    except InvalidClientId:
        return False


@given(
    client=st.from_regex(r"[^\W_][\w.@:+~-]{0,20}", fullmatch=True).filter(is_client_id),
    recovered=st.sampled_from([None, True, False]),
    connections=st.integers(0, 10**6),
    keepalive=st.integers(0, 300),
    degraded=st.booleans(),
    rate=st.none() | st.builds(messages.Allowance, st.sampled_from([20, 0.5, 1e3]), st.just(40), st.just(7)),
)
def test_a_welcome_is_written_as_the_encoder_would(
    client: str,
    recovered: bool | None,
    *,
    connections: int,
    keepalive: int,
    degraded: bool,
    rate: messages.Allowance | None,
) -> None:
    welcome = messages.welcome(
        client,
        "1-0",
        "9",
        "serving",
        recovered,
        connections=connections,
        keepalive_s=keepalive,
        degraded=degraded,
        rate=rate,
    )
    assert messages.encode(json.loads(welcome)) == welcome
    assert json.loads(welcome)["client_id"] == client


def test_a_welcome_tells_of_a_keepalive_only_when_there_is_one() -> None:
    plain, kept = (
        messages.welcome("bob", "1-0", "9", "serving", None, connections=2, keepalive_s=s) for s in (0, 10)
    )
    assert json.loads(kept) == json.loads(plain) | {"keepalive_s": 10}


def test_the_other_frames_carry_what_they_promise() -> None:
    assert json.loads(messages.heartbeat(2.5, 3, 4)) == {
        "type": "heartbeat",
        "ts": 2.5,
        "connections": 3,
        "n": 4,
    }
    assert json.loads(messages.shutdown(1.23456, "SIGTERM")) == {
        "type": "shutdown",
        "deadline_s": 1.235,
        "reason": "SIGTERM",
    }
    assert json.loads(messages.shutdown(None, "cancelled"))["deadline_s"] is None
    assert json.loads(messages.shutdown(60.0, "SIGTERM", 1.23456))["reconnect_in_s"] == 1.235
    assert json.loads(messages.error("rate_limited", "slower")) == {
        "type": "error",
        "code": "rate_limited",
        "message": "slower",
    }


@given(st.text(), st.lists(st.floats(0, 1e6), max_size=5))
def test_an_invitation_is_the_shutdown_frame_with_a_moment(reason: str, moments: list[float]) -> None:
    for told, moment in zip(messages.invitations(60.5, reason, moments), moments, strict=True):
        assert json.loads(told) == json.loads(messages.shutdown(60.5, reason, moment))


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ('{"type": "renew", "token": "t0p"}', "t0p"),
        (' \n{"token":"t0p","type":"renew","more":1}', "t0p"),
        ('{"type": "\\u0072enew", "token": "t0p"}', "t0p"),
        ('{"type": "renew", "type": "x", "token": "t0p"}', "t0p"),
        ('{"type": "renew", "token": null}', None),
        ('{"type": "renew", "token": ["t0p"]}', None),
        ('{"type": "renew"}', None),
        ('{"type": "renew", "token": "t0p', None),
        ('{"type" : "renew", "token": "t0p"} and more', None),
        ('{"type": "renew", "x": ' + "[" * 5000, None),
        ('\ufeff{"type": "renew", "token": "t"}', "t"),
        ("{'type': 'renew', 'token': 't'}", None),
        ('{type: "renew", token: "t"}', None),
    ],
)
def test_what_looks_like_a_renewal_is_one(text: str, token: str | None) -> None:
    assert messages.renewal(text) == messages.Renewal(token)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "renew",
        '"renew"',
        '["type", "renew"]',
        "{renew}",
        "{",
        '{"type": "renewed"}',
        '{"text": "renew"}',
        '{"data": {"type": 5, "token": "renew"}}',
        '{"type": "message", "data": "\\"type\\": \\"renew\\""}',
        "{" * 5000 + "renew",
    ],
)
def test_any_other_text_is_a_message(text: str) -> None:
    assert messages.renewal(text) is None


def test_a_renewal_says_for_how_long() -> None:
    assert json.loads(messages.renewed(3599.99961)) == {"type": "renewed", "expires_in_s": 3600.0}
