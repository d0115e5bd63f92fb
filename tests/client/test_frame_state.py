"""What the frames that a server sends mean to a client."""

from typing import Any

import pytest

from wsctl.client.events import Opened, Received, ServerDegraded, ServerRestored
from wsctl.client.frame_state import Cursor, FrameState, decode_frame

# Frames


def test_an_object_is_read_from_text_and_from_bytes() -> None:
    assert decode_frame('{"type":"message","data":"é"}') == {"type": "message", "data": "é"}
    assert decode_frame('{"type":"message","data":"é"}'.encode()) == {"type": "message", "data": "é"}


@pytest.mark.parametrize("nonsense", ["hello", "[1]", "null", "[" * 100_000, b"\xff\x00", ""])
def test_anything_else_is_none(nonsense: str | bytes) -> None:
    assert decode_frame(nonsense) is None


def test_the_same_frame_is_read_once() -> None:
    text = '{"type":"heartbeat"}'
    assert decode_frame(text) is decode_frame("".join(text))


# The position


URL = "ws://there/ws/bob"


def welcomed(**fields: Any) -> Cursor:
    """A cursor that stood at 5-0 when this welcome came."""
    cursor = Cursor()
    cursor.at = "5-0"
    frame = {"type": "welcome", "id": "9-0"} | fields
    cursor.welcome(frame, follows=frame.get("recovered") is True)
    return cursor


def test_the_first_connection_asks_for_nothing() -> None:
    assert Cursor().url(URL) == URL


@pytest.mark.parametrize(("fields", "at"), [({}, "9-0"), ({"recovered": False}, "9-0")])
def test_a_welcome_is_where_a_client_begins_that_recovers_nothing(fields: dict[str, Any], at: str) -> None:
    assert welcomed(**fields).at == at


def test_a_client_that_recovers_stays_where_it_was_until_the_messages_come() -> None:
    cursor = welcomed(recovered=True)
    assert cursor.at == "5-0"
    cursor.message({"type": "message", "id": "6-0"})
    assert cursor.at == "6-0"


def test_the_url_names_the_last_message_whatever_its_id_looks_like() -> None:
    assert welcomed().url(URL) == f"{URL}?since=9-0"
    assert welcomed(id="a/b&c=d e").url(URL) == f"{URL}?since=a%2Fb%26c%3Dd%20e"


@pytest.mark.parametrize("strange", [None, 7, ["x"]])
def test_an_id_that_is_no_text_moves_nothing(strange: object) -> None:
    assert welcomed(id=strange).at == "5-0"


# Events


AWAY = {"type": "error", "code": "degraded", "message": "Redis is away"}


def welcome(**fields: Any) -> dict[str, Any]:
    return {"type": "welcome", "client_id": "bob", "id": "7-0"} | fields


def kinds_of(state: FrameState, *frames: dict[str, Any]) -> list[str]:
    """What kinds of events the frames are."""
    return [type(state.receive(frame, "http://a")).__name__ for frame in frames]


def test_the_first_welcome_of_a_connection_opens_it_and_a_further_one_restores_it() -> None:
    state = FrameState()
    assert kinds_of(state, welcome(), welcome(), welcome()) == ["Opened", "ServerRestored", "ServerRestored"]
    state.disconnect()
    assert state.receive(welcome(), "http://b") == Opened(welcome(), since="7-0", server="http://b")


def test_only_the_first_word_of_an_outage_is_told_as_one() -> None:
    state = FrameState()
    kinds = kinds_of(state, welcome(), AWAY, AWAY, AWAY, welcome(recovered=True), AWAY)
    assert kinds == ["Opened", "ServerDegraded", "Received", "Received", "ServerRestored", "ServerDegraded"]
    assert state.receive(AWAY, "http://a") == Received(AWAY)


def test_who_was_welcomed_to_a_degraded_server_is_answered_by_such_an_error() -> None:
    state = FrameState()
    assert kinds_of(state, welcome(server={"degraded": True}), AWAY) == ["Opened", "Received"]
    state.disconnect()
    assert kinds_of(state, welcome(server={"degraded": False}), AWAY) == ["Opened", "ServerDegraded"]


def test_before_the_welcome_an_error_is_what_it_is() -> None:
    assert kinds_of(FrameState(), AWAY) == ["Received"]


def test_other_errors_are_no_outage() -> None:
    assert kinds_of(FrameState(), welcome(), AWAY | {"code": "rate_limited"}) == ["Opened", "Received"]


@pytest.mark.parametrize(("recovered", "at"), [(True, "8-0"), (False, "20-0"), (None, "20-0")])
def test_a_further_welcome_moves_the_cursor_only_when_messages_are_lost(
    recovered: bool | None, at: str
) -> None:
    state = FrameState()
    again = welcome(id="20-0") | ({} if recovered is None else {"recovered": recovered})
    for frame in (welcome(), {"type": "message", "id": "8-0"}, AWAY):
        state.receive(frame, "http://a")
    event = state.receive(again, "http://a")
    assert isinstance(event, ServerRestored)
    assert event.recovered is (recovered is True)
    assert state.cursor.at == at


@pytest.mark.parametrize("server", [None, "x", [], {"degraded": None}, {"degraded": "yes"}])
def test_what_does_not_say_so_is_not_degraded(server: object) -> None:
    opened = FrameState().receive(welcome(server=server), "http://a")
    assert isinstance(opened, Opened)
    assert not opened.degraded


def test_the_words_of_the_server_are_kept() -> None:
    state = FrameState()
    state.receive(welcome(), "http://a")
    assert state.receive(AWAY, "http://a") == ServerDegraded(AWAY)


# Topics


def test_the_url_names_the_topics_too() -> None:
    state = FrameState("5-0", ["a.b", "c.*", "d+e.>"])
    assert state.url(URL) == f"{URL}?since=5-0&topic=a.b&topic=c.*&topic=d%2Be.%3E"
    assert FrameState(None, ["a:b@c~d"]).url(URL) == f"{URL}?topic=a:b@c~d"


def test_subscriptions_are_kept_until_they_end() -> None:
    state = FrameState(None, ["a"])
    state.subscribe(["b", "a"], {"type": "ok", "id": "9-0"})
    assert (state.topics, state.cursor.at) == (["a", "b"], "9-0")
    state.unsubscribe(["a", "never"])
    assert state.topics == ["b"]


@pytest.mark.parametrize(
    ("lost", "at"),
    [(["a"], "5-0"), (["a", "b.c"], "5-0"), (["b.>", "a"], "9-0"), ([], "5-0"), ("a", "5-0")],
)
def test_what_is_kept_of_some_topics_follows_although_others_are_lost(lost: object, at: str) -> None:
    state = FrameState("5-0", ["a", "b.>"])
    opened = state.receive(welcome(id="9-0", recovered=False, lost=lost), "http://a")
    assert isinstance(opened, Opened)
    assert opened.lost == (tuple(lost) if isinstance(lost, list) else ())
    assert state.cursor.at == at
    assert opened.partly == (at == "5-0")


def test_subscriptions_that_new_credentials_do_not_permit_are_not_asked_for_again() -> None:
    state = FrameState(None, ["a", "b"])
    error = {"type": "error", "code": "topic_not_allowed", "message": "no", "topics": ["b"]}
    assert kinds_of(state, welcome(), error) == ["Opened", "Received"]
    assert state.topics == ["a"]
    kinds_of(state, error | {"topics": ["a"], "ref": 3})
    assert state.topics == ["a"]


def test_an_answer_to_a_command_is_no_news_of_an_outage() -> None:
    state = FrameState()
    answer = AWAY | {"ref": 1}
    assert kinds_of(state, welcome(), answer, AWAY, answer) == [
        "Opened",
        "Received",
        "ServerDegraded",
        "Received",
    ]
