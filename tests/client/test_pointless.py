"""What makes a load pointless."""

import pytest

from wsctl.client.events import Closed, Degraded, Event, Failed, Moved, Opened, Received, Refused, Restored
from wsctl.client.pointless import pointless
from wsctl.codes import ExitCode


def error(code: str) -> Received:
    return Received({"type": "error", "code": code, "message": "no"})


@pytest.mark.parametrize(
    ("event", "text", "exit_code"),
    [
        (Failed("cannot connect to http://a: nobody"), "cannot connect to http://a: nobody", 5),
        (Failed("nobody", advice="look"), "nobody; look", 5),
        (Refused(503, "full", "full"), "http://a refused client bob with HTTP 503: full", 6),
        (Closed(1001, "draining"), "http://a closed client bob with 1001: draining", 6),
        (Closed(4501, "replaced"), "another program connected as bob: choose another --id", 6),
        (Degraded({}), "http://a is degraded", 1),
        (error("degraded"), "http://a is degraded", 1),
        (Opened({"server": {"degraded": True}}), "http://a is degraded", 1),
    ],
)
def test_what_keeps_a_run_from_beginning_is_nothing_to_one_under_way(
    event: Event, text: str, exit_code: int
) -> None:
    found = pointless("bob", "http://a", event, publishing=False)
    assert str(found).startswith(text)
    assert found
    assert found.exit_code == ExitCode(exit_code)
    assert pointless("bob", "http://a", event, publishing=True) is None


@pytest.mark.parametrize("publishing", [False, True])
def test_a_server_that_takes_no_messages_from_clients_ends_any_run(publishing: bool) -> None:
    found = pointless("bob", "http://a", error("publish_disabled"), publishing=publishing)
    assert "http://a takes no messages from clients" in str(found)


@pytest.mark.parametrize("event", [Opened({}), Moved(), Restored({}), error("rate_limited"), Received({})])
def test_anything_else_is_no_reason_to_end(event: Event) -> None:
    assert pointless("bob", "http://a", event, publishing=False) is None
