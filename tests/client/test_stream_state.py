"""What a program gets for the events of its session."""

from typing import Any

import pytest

from wsctl.client import events
from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    Waiting,
)
from wsctl.client.stream_events import (
    Connected,
    Degraded,
    Disconnected,
    Draining,
    Lost,
    Rejected,
    Restored,
    Retrying,
)
from wsctl.client.stream_state import Item, StreamState
from wsctl.messages import Message


def items(*happened: Event) -> list[Item]:
    """Everything that a program gets for these events."""
    state = StreamState()
    return [item for event in happened for item in state.receive(event)]


def opened(since: str | None = None, **fields: Any) -> Opened:
    return Opened({"type": "welcome", "id": "9-0"} | fields, since, "http://a")


def test_a_first_connection_begins_behind_the_newest_message() -> None:
    assert items(opened()) == [Connected("http://a", "9-0", None)]


def test_one_that_has_recovered_begins_where_the_last_one_ended() -> None:
    assert items(opened("5-0", recovered=True)) == [Connected("http://a", "5-0", True)]


@pytest.mark.parametrize("fields", [{"recovered": False}, {}])
def test_what_was_not_recovered_is_lost_from_the_last_message_to_the_newest(fields: dict[str, Any]) -> None:
    assert items(opened("5-0", **fields)) == [Connected("http://a", "9-0", False), Lost("5-0", "9-0")]


def test_a_welcome_by_a_degraded_server_says_so() -> None:
    connected, degraded = items(opened(server={"degraded": True}))
    assert (type(connected), type(degraded)) == (Connected, Degraded)


def test_a_server_that_is_whole_again_has_lost_messages_or_not() -> None:
    again = events.ServerRestored({"id": "9-0", "recovered": True}, "5-0")
    assert items(events.ServerDegraded({"message": "Redis is away"}), again) == [
        Degraded("Redis is away"),
        Restored(),
    ]
    assert items(events.ServerRestored({"id": "9-0", "recovered": False}, "5-0")) == [
        Restored(),
        Lost("5-0", "9-0"),
    ]


def test_a_message_has_the_fields_of_its_frame() -> None:
    frame = {"type": "message", "id": "7-0", "ts": 1.5, "from": "eve", "data": {"a": [1]}}
    assert items(Received(frame)) == [Message("7-0", 1.5, "eve", {"a": [1]})]
    assert items(Received(frame | {"to": ["bob"]})) == [Message("7-0", 1.5, "eve", {"a": [1]}, ("bob",))]
    shown = Message("7-0", 1.5, "eve", {"a": [1]}, ("bob", "ann"), shown=True)
    assert items(Received(frame | {"to": ["bob", "ann"]})) == [shown]


def test_the_other_frames_are_events_or_nothing() -> None:
    frames = [
        {"type": "error", "code": "rate_limited", "message": "slower"},
        {"type": "shutdown", "deadline_s": 60, "reason": "SIGTERM", "reconnect_in_s": 2.5},
        {"type": "shutdown", "deadline_s": None, "reason": "cancelled"},
        {"type": "heartbeat", "n": 1},
        {"type": "of a later version"},
        {},
    ]
    assert items(*map(Received, frames)) == [
        Rejected("rate_limited", "slower"),
        Draining(60.0, "SIGTERM", 2.5),
        Draining(None, "cancelled", None),
    ]


@pytest.mark.parametrize("number", ["x", None, [1], 10**400])
def test_what_is_no_time_is_none(number: object) -> None:
    assert items(Received({"type": "shutdown", "deadline_s": number, "reason": ""})) == [
        Draining(None, "", None)
    ]


def test_only_the_end_of_a_connection_is_a_disconnection() -> None:
    failed = ConnectFailed("cannot connect", advice="check the address")
    assert items(opened(), Closed(1012, "restart"), Closed(1001, "draining"), failed) == [
        Connected("http://a", "9-0", None),
        Disconnected(1012, "restart"),
    ]
    assert items(opened(), Moved())[1:] == [Disconnected(1000, "left as the server asked, reconnecting")]


def test_each_pause_says_why_and_how_often_it_failed() -> None:
    pauses = items(
        opened(),
        Closed(1012, "restart"),
        Waiting(0.5),
        ConnectFailed("cannot connect", advice="check the address"),
        Waiting(1),
        HandshakeRefused(503, "full", "the server is full"),
        Waiting(2),
        opened("9-0", recovered=True),
        Closed(1006, "lost"),
        Waiting(0.5),
    )
    assert [pause for pause in pauses if isinstance(pause, Retrying)] == [
        Retrying("closed: 1012 restart", 0.5, 0),
        Retrying("cannot connect; check the address", 1, 1),
        Retrying("refused: HTTP 503 the server is full", 2, 2),
        Retrying("closed: 1006 lost", 0.5, 0),
    ]
