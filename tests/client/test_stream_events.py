"""The lines that a program's log has of the events of its stream."""

import logging

import pytest

from wsctl.client.stream_events import (
    Connected,
    Degraded,
    Disconnected,
    Draining,
    EventLog,
    Lost,
    Rejected,
    Restored,
    Retrying,
    StreamEvent,
)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "wsctl.client")
    return caplog


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (Connected("http://a", "1-0", None), "INFO", "connected to http://a"),
        (Lost("1-0", "9-0"), "WARNING", "messages are lost: those after 1-0 up to 9-0"),
        (Disconnected(1012, "restart"), "INFO", "disconnected: 1012 restart"),
        (Disconnected(1000, ""), "INFO", "disconnected: 1000"),
        (Retrying("closed: 1012", 0.26, failed=0), "INFO", "closed: 1012; trying again in 0.3 s"),
        (Retrying("no answer in time", 1, failed=1), "WARNING", "no answer in time; trying again in 1.0 s"),
        (
            Draining(60.0, "SIGTERM", 3.0),
            "INFO",
            "the server drains (SIGTERM): connections are closed in 60 s",
        ),
        (Draining(None, "cancelled", None), "INFO", "the server's drain was cancelled"),
        (
            Rejected("rate_limited", "slower"),
            "WARNING",
            "the server did not take a message: rate_limited: slower",
        ),
        (Degraded("Redis is away"), "WARNING", "the server is degraded: Redis is away"),
        (Restored(), "INFO", "the server is no longer degraded"),
    ],
)
def test_each_event_is_a_line_with_the_name_of_the_client(
    log: pytest.LogCaptureFixture, event: StreamEvent, level: str, text: str
) -> None:
    EventLog("bob").write(event)
    assert [(record.name, record.levelname, record.message) for record in log.records] == [
        ("wsctl.client", level, f"bob: {text}")
    ]


def test_what_repeats_itself_is_a_warning_once_a_connection(log: pytest.LogCaptureFixture) -> None:
    lines = EventLog("bob")
    failing, refused = Retrying("no answer", 1, failed=2), Rejected("rate_limited", "slower")
    for event in (failing, failing, refused, refused, Connected("http://a", "1-0", True), failing, refused):
        lines.write(event)
    levels = [record.levelname for record in log.records if record.levelname != "INFO"]
    assert levels == ["WARNING", "DEBUG", "WARNING", "DEBUG", "WARNING", "WARNING"]
