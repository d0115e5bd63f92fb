"""What events look like."""

import io
import json
import time
from typing import Any

import pytest

from wsctl.cli.ui.transcript import JsonTranscript, PlainTranscript
from wsctl.client.events import (
    Closed,
    Degraded,
    Event,
    Failed,
    Moved,
    Opened,
    Received,
    Refused,
    Restored,
    Waiting,
)

NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))


def plain(event: Event, **how: Any) -> tuple[str, str]:
    """What one event puts on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    options: dict[str, Any] = {"name_clients": False, "now": lambda: NOON} | how
    PlainTranscript(out, err, **options).event("bob", event)
    return out.getvalue(), err.getvalue()


def message(**fields: Any) -> Received:
    return Received({"type": "message", "id": "1-0", "ts": NOON, "from": "eve", "data": "hello"} | fields)


def test_a_message_is_a_line_of_stdout_with_its_time_and_sender() -> None:
    assert plain(message()) == ("12:00:00 eve: hello\n", "")


def test_data_that_is_no_text_is_compact_json() -> None:
    assert plain(message(data={"a": [1, 2]}))[0] == '12:00:00 eve: {"a":[1,2]}\n'


def test_a_direct_message_names_its_addressees() -> None:
    assert plain(message(to=["bob", "jo"]))[0] == "12:00:00 eve to bob, jo: hello\n"


def test_several_clients_are_told_apart() -> None:
    assert plain(message(), name_clients=True)[0] == "12:00:00 [bob] eve: hello\n"
    assert plain(Waiting(1), name_clients=True)[1] == "12:00:00 * [bob] retrying in 1.0 s\n"


@pytest.mark.parametrize("ts", [None, "x", 1e300, float("nan"), []])
def test_a_time_that_is_none_is_now(ts: object) -> None:
    assert plain(message(ts=ts))[0] == "12:00:00 eve: hello\n"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Opened({"type": "welcome", "client_id": "bob"}), "connected as bob"),
        (Opened({"client_id": "bob", "recovered": True}, resumed=True), "connected as bob"),
        (
            Opened({"client_id": "bob", "recovered": False}, resumed=True),
            "connected as bob; some messages were missed: the server's history no longer reaches back",
        ),
        (
            Opened({"client_id": "bob", "server": {"degraded": True}}),
            "connected as bob; the server is degraded: for now it takes no messages",
        ),
        (
            Degraded({"type": "error", "code": "degraded", "message": "messages are not shared"}),
            "degraded: messages are not shared",
        ),
        (
            Received({"type": "error", "code": "degraded", "message": "not sent"}),
            "error: not sent (degraded)",
        ),
        (Restored({"client_id": "bob", "recovered": True}), "back: nothing missed"),
        (Restored({"client_id": "bob", "recovered": False}), "back: messages were lost"),
        (Received({"type": "heartbeat", "n": 3, "connections": 2}), "heartbeat 3, connections: 2"),
        (
            Received({"type": "shutdown", "deadline_s": 1799.9, "reason": "SIGTERM"}),
            "server is draining, 1800 s left (SIGTERM)",
        ),
        (
            Received({"type": "shutdown", "deadline_s": 60, "reason": "SIGTERM", "reconnect_in_s": 12.4}),
            "server is draining, 60 s left (SIGTERM); reconnecting in 12 s",
        ),
        (
            Received({"type": "shutdown", "deadline_s": 9**999, "reason": "x", "reconnect_in_s": 9**999}),
            "server is draining, 1000000000 s left (x); reconnecting in 1000000000 s",
        ),
        (Received({"type": "shutdown", "deadline_s": None, "reason": "x"}), "drain cancelled"),
        (
            Received({"type": "error", "code": "rate_limited", "message": "too many"}),
            "error: too many (rate_limited)",
        ),
        (Received({"type": "later"}), '{"type":"later"}'),
        (Closed(1012, "restart"), "closed: 1012 restart"),
        (Closed(4501, "replaced"), "closed: 4501 replaced, not reconnecting"),
        (Closed(1005, ""), "closed: 1005"),
        (Closed(4501, ""), "closed: 4501, not reconnecting"),
        (Refused(503, "full", "come back later"), "refused: HTTP 503 come back later"),
        (Moved(), "left as the server asked, reconnecting"),
        (Failed("cannot connect"), "cannot connect"),
        (Waiting(1.26), "retrying in 1.3 s"),
    ],
)
def test_everything_else_is_a_line_of_stderr(event: Event, line: str) -> None:
    assert plain(event) == ("", f"12:00:00 * {line}\n")


@pytest.mark.parametrize(
    "event",
    [
        message(data="\x1b[2J\n"),
        message(data=["\x1b", "\x9b"]),
        message(**{"from": "\x1b[2J"}),
        message(to=["\x1b[2J"]),
        Opened({"client_id": "\x1b[2J"}),
        Received({"type": "heartbeat", "n": "\x1b", "connections": 1}),
        Received({"type": "shutdown", "deadline_s": 1, "reason": "\x1b[2J"}),
        Received({"type": "error", "code": "\x1b", "message": "\x1b"}),
        Received({"type": "\x1b[2J"}),
        Degraded({"message": "\x1b[2J"}),
        Degraded({}),
        Closed(1000, "\x1b[2J"),
        Refused(500, "", "\x1b[2J"),
        Failed("\x1b[2J"),
    ],
)
def test_nothing_of_others_commands_the_terminal(event: Event) -> None:
    text = "".join(plain(event))
    assert text.count("\n") == 1
    assert text[:-1].isprintable()


def test_colour_is_per_stream() -> None:
    assert "\x1b[" in plain(message(), colour=(True, False))[0]
    assert "\x1b[" not in plain(message(), colour=(False, True))[0]
    assert "\x1b[" in plain(Waiting(1), colour=(False, True))[1]
    assert "\x1b[" not in plain(Waiting(1), colour=(True, False))[1]


def as_json(event: Event, *, name_clients: bool = False) -> Any:
    out, err = io.StringIO(), io.StringIO()
    JsonTranscript(out, err, name_clients=name_clients).event("bob", event)
    assert not err.getvalue()
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().isascii()
    return json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (Opened({"type": "welcome", "id": "1"}), {"type": "welcome", "id": "1"}),
        (Received({"type": "message", "data": "é\x9b"}), {"type": "message", "data": "é\x9b"}),
        (Closed(1012, "restart"), {"type": "closed", "code": 1012, "reason": "restart"}),
        (
            Refused(503, "full", "later", 5),
            {"type": "refused", "status": 503, "code": "full", "message": "later"},
        ),
        (Moved(), {"type": "moved"}),
        (
            Opened({"type": "welcome", "recovered": False}, resumed=True),
            {"type": "welcome", "recovered": False},
        ),
        (Degraded({"type": "error", "code": "degraded"}), {"type": "error", "code": "degraded"}),
        (Restored({"type": "welcome", "recovered": True}), {"type": "welcome", "recovered": True}),
        (Failed("why"), {"type": "failed", "message": "why"}),
        (Waiting(1.5), {"type": "waiting", "seconds": 1.5}),
    ],
)
def test_json_has_frames_as_they_come_and_states_as_objects(event: Event, shown: object) -> None:
    assert as_json(event) == shown


def test_json_of_several_clients_names_them() -> None:
    assert as_json(Waiting(1), name_clients=True) == {"client": "bob", "type": "waiting", "seconds": 1}
