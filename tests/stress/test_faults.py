"""What keeps a run from going on: events of a client, and servers that share no messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
)
from wsctl.codes import ExitCode
from wsctl.stress.faults import ClusterCheck, fatal_error

A, B, C = SERVERS = ("http://a", "http://b", "http://c")


def message(text: str, number: int = 1) -> dict[str, object]:
    return {"type": "message", "id": f"{number}-0", "from": "bob", "data": text}


def checked(*left_out: tuple[str, str]) -> ClusterCheck:
    """Every message has come to every server, but for these: whose, and where."""
    check = ClusterCheck(SERVERS)
    for number, first in enumerate(SERVERS):
        for other in SERVERS:
            if (first, other) not in left_out:
                check.receive(other, message(check.text(first), number))
    return check


def test_servers_at_which_every_message_arrives_with_one_id_are_one() -> None:
    check = checked()
    assert check.complete
    assert check.fault() is None


@given(st.sets(st.tuples(st.sampled_from(SERVERS), st.sampled_from(SERVERS)), min_size=1))
def test_one_message_that_does_not_come_is_a_fault_which_names_the_servers(
    gaps: set[tuple[str, str]],
) -> None:
    check = checked(*gaps)
    assert not check.complete
    fault = check.fault()
    assert fault
    assert any(first in fault and other in fault for first, other in gaps)


def test_an_island_is_said_to_be_one_and_what_to_do() -> None:
    fault = checked((A, B), (B, A), (C, B), (B, C)).fault()
    assert fault
    assert fault.startswith(f"what {A} takes does not arrive at {B}: they share no messages")
    assert "--redis" in fault


def test_one_message_with_two_ids_is_no_one_order() -> None:
    check = checked()
    check.receive(C, message(check.text(B), 7))
    fault = check.fault()
    assert fault
    assert fault.startswith(f"one message has different ids at {B} and {C}")


def test_a_server_that_does_not_even_answer_is_no_island() -> None:
    fault = checked((A, A), (A, B), (A, C)).fault()
    assert fault == f"{A} did not send a message back in time: is it overloaded?"


def test_other_messages_are_ignored() -> None:
    check, another = ClusterCheck(SERVERS), ClusterCheck(SERVERS)
    for frame in (message(another.text(A)), {"type": "heartbeat"}, {"type": "message", "data": ["x"]}):
        check.receive(A, frame)
    assert check.fault() == f"{A} did not send a message back in time: is it overloaded?"


# Events


def error(code: str) -> Received:
    return Received({"type": "error", "code": code, "message": "no"})


@pytest.mark.parametrize(
    ("event", "text", "exit_code"),
    [
        (ConnectFailed("cannot connect to http://a: nobody"), "cannot connect to http://a: nobody", 5),
        (ConnectFailed("nobody", advice="look"), "nobody; look", 5),
        (HandshakeRefused(503, "full", "full"), "http://a refused client bob with HTTP 503: full", 6),
        (Closed(1001, "draining"), "http://a closed client bob with 1001: draining", 6),
        (Closed(4501, "replaced"), "another program connected as bob: choose another --id", 6),
        (ServerDegraded({}), "http://a is degraded", 1),
        (error("degraded"), "http://a is degraded", 1),
        (Opened({"server": {"degraded": True}}), "http://a is degraded", 1),
    ],
)
def test_what_keeps_a_run_from_beginning_is_nothing_to_one_under_way(
    event: Event, text: str, exit_code: int
) -> None:
    found = fatal_error("bob", "http://a", event, publishing=False)
    assert str(found).startswith(text)
    assert found
    assert found.exit_code == ExitCode(exit_code)
    assert fatal_error("bob", "http://a", event, publishing=True) is None


@pytest.mark.parametrize("publishing", [False, True])
def test_a_server_that_takes_no_messages_from_clients_ends_any_run(publishing: bool) -> None:
    found = fatal_error("bob", "http://a", error("publish_disabled"), publishing=publishing)
    assert "http://a takes no messages from clients" in str(found)


@pytest.mark.parametrize(
    "event", [Opened({}), Moved(), ServerRestored({}), error("rate_limited"), Received({})]
)
def test_anything_else_is_no_reason_to_end(event: Event) -> None:
    assert fatal_error("bob", "http://a", event, publishing=False) is None
