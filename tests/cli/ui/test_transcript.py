"""What events look like."""

import io
import json
import time
from typing import Any

import pytest

from wsctl.cli.ui.transcript import JsonTranscript, PlainTranscript
from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    ServerDegraded,
    ServerRestored,
    Waiting,
)

NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))


def plain(event: Event, **how: Any) -> tuple[str, str]:
    """What one event puts on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    options: dict[str, Any] = {"now": lambda: NOON} | how
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
    assert plain(message(), clients=2)[0] == "12:00:00 [bob] eve: hello\n"


@pytest.mark.parametrize("ts", [None, "x", 1e300, float("nan"), []])
def test_a_time_that_is_none_is_now(ts: object) -> None:
    assert plain(message(ts=ts))[0] == "12:00:00 eve: hello\n"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Opened({"type": "welcome", "client_id": "bob"}), "connected as bob"),
        (Opened({"client_id": "bob", "recovered": True}, since="0-1"), "connected as bob"),
        (
            Opened({"client_id": "bob", "recovered": False}, since="0-1"),
            "connected as bob; some messages were missed: the server's history no longer reaches back",
        ),
        (
            Opened({"client_id": "bob", "server": {"degraded": True}}),
            "connected as bob; the server is degraded: for now it takes no messages",
        ),
        (
            ServerDegraded({"type": "error", "code": "degraded", "message": "messages are not shared"}),
            "degraded: messages are not shared",
        ),
        (
            Received({"type": "error", "code": "degraded", "message": "not sent"}),
            "error: not sent (degraded)",
        ),
        (ServerRestored({"client_id": "bob", "recovered": True}), "back: nothing missed"),
        (ServerRestored({"client_id": "bob", "recovered": False}), "back: messages were lost"),
        (Received({"type": "heartbeat", "n": 3, "connections": 2}), "heartbeat 3, connections: 2"),
        (
            Received({"type": "shutdown", "deadline_s": 1799.9, "reason": "SIGTERM"}),
            "server is draining, 30:00 left (SIGTERM)",
        ),
        (
            Received({"type": "shutdown", "deadline_s": 60, "reason": "SIGTERM", "reconnect_in_s": 12.4}),
            "server is draining, 1:00 left (SIGTERM); reconnecting in 0:13",
        ),
        (
            Received({"type": "shutdown", "deadline_s": 9**999, "reason": "x", "reconnect_in_s": 9**999}),
            "server is draining, 876000:00:00 left (x); reconnecting in 876000:00:00",
        ),
        (Received({"type": "shutdown", "deadline_s": None, "reason": "x"}), "drain cancelled"),
        (
            Received({"type": "error", "code": "rate_limited", "message": "too many"}),
            "error: too many (rate_limited)",
        ),
        (Received({"type": "later"}), '{"type":"later"}'),
        (Closed(4501, "replaced"), "closed: 4501 replaced, not reconnecting"),
        (Closed(4501, ""), "closed: 4501, not reconnecting"),
        (ConnectFailed("no wsctl server", final=True), "no wsctl server"),
        (Waiting(1.26), "retrying in 0:02"),
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
        ServerDegraded({"message": "\x1b[2J"}),
        ServerDegraded({}),
        Closed(4500, "\x1b[2J"),
        HandshakeRefused(403, "", "\x1b[2J"),
        ConnectFailed("\x1b[2J", final=True),
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


def told(*events: Event, **how: Any) -> list[str]:
    """The lines that some events of one client put on stderr."""
    err = io.StringIO()
    transcript = PlainTranscript(io.StringIO(), err, now=lambda: NOON, **how)
    for event in events:
        transcript.event("bob", event)
    return [line.removeprefix("12:00:00 * ") for line in err.getvalue().splitlines()]


WELCOME = Opened({"client_id": "bob"})


def test_the_end_of_a_connection_is_a_line() -> None:
    for end, line in (
        (Closed(1012, "restart"), "closed: 1012 restart"),
        (Closed(1005, ""), "closed: 1005"),
        (Moved(), "left as the server asked, reconnecting"),
    ):
        assert told(WELCOME, end, WELCOME) == ["connected as bob", line, "connected as bob"]


def test_a_server_that_is_away_gets_a_line_at_longer_and_longer_intervals() -> None:
    attempts = [event for _ in range(100) for event in (Waiting(2.1), ConnectFailed("cannot connect"))]
    lines = told(
        WELCOME, Closed(1006, "lost"), *attempts, Waiting(1), WELCOME, Closed(1006, "lost"), Waiting(1)
    )
    assert lines[:3] == ["connected as bob", "closed: 1006 lost", "retrying in 0:03"]
    assert lines[3] == "cannot connect; retrying in 0:03"
    assert lines[4:-3] == [f"cannot connect ({n} attempts); retrying in 0:03" for n in (2, 4, 8, 16, 32, 64)]
    assert lines[-3:] == ["connected as bob", "closed: 1006 lost", "retrying in 0:01"]


def test_another_reason_is_a_line_at_once() -> None:
    tries = [ConnectFailed("nobody there"), Waiting(1)] * 3 + [
        HandshakeRefused(503, "full", "full"),
        Waiting(1),
    ]
    assert told(*tries)[-1] == "refused: HTTP 503 full (4 attempts); retrying in 0:01"


def test_where_one_line_can_be_drawn_over_there_is_no_other() -> None:
    shown: list[tuple[str, float | None]] = []
    attempts = [Waiting(2), *[ConnectFailed("cannot connect"), Waiting(1)] * 2]
    lines = told(
        WELCOME, Closed(1006, "lost"), *attempts, WELCOME, show_disconnected=lambda *line: shown.append(line)
    )
    assert lines == ["connected as bob", "closed: 1006 lost", "connected as bob"]
    assert shown == [
        ("", None),
        ("disconnected", 2),
        ("cannot connect", 1),
        ("cannot connect (2 attempts)", 1),
        ("", None),
    ]


@pytest.mark.anyio
async def test_what_happens_to_several_clients_is_told_once_with_their_number() -> None:
    err = io.StringIO()
    transcript = PlainTranscript(io.StringIO(), err, clients=3, now=lambda: NOON)
    names = ("a-1", "a-2", "a-3")
    for event in (Opened({}), Closed(1006, "lost"), Waiting(1), ConnectFailed("cannot connect"), Waiting(2)):
        for name in names:
            transcript.event(name, event)
    transcript.event("a-1", Opened({}))
    transcript.flush()
    assert [line.removeprefix("12:00:00 * ") for line in err.getvalue().splitlines()] == [
        "[3 of 3 clients] connected",
        "[3 of 3 clients] closed: 1006 lost",
        "[3 of 3 clients] cannot connect; retrying in 0:02",
        "[a-1] connected",
    ]


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
            HandshakeRefused(503, "full", "later", 5),
            {"type": "refused", "status": 503, "code": "full", "message": "later"},
        ),
        (Moved(), {"type": "moved", "why": "left as the server asked"}),
        (
            Opened({"type": "welcome", "recovered": False}, since="0-1"),
            {"type": "welcome", "recovered": False},
        ),
        (ServerDegraded({"type": "error", "code": "degraded"}), {"type": "error", "code": "degraded"}),
        (ServerRestored({"type": "welcome", "recovered": True}), {"type": "welcome", "recovered": True}),
        (ConnectFailed("why"), {"type": "failed", "message": "why"}),
        (Waiting(1.5), {"type": "waiting", "seconds": 1.5}),
    ],
)
def test_json_has_frames_as_they_come_and_states_as_objects(event: Event, shown: object) -> None:
    assert as_json(event) == shown


def test_json_of_several_clients_names_them() -> None:
    assert as_json(Waiting(1), name_clients=True) == {"client": "bob", "type": "waiting", "seconds": 1}
