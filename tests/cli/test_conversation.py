"""Which events end `wsctl client`."""

import pytest

from wsctl.cli.conversation import fatal_error
from wsctl.client.events import Closed, ConnectFailed, Event, HandshakeRefused
from wsctl.codes import ExitCode


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (HandshakeRefused(400, "", ""), ExitCode.USAGE),
        (HandshakeRefused(401, "", ""), ExitCode.REFUSED),
        (HandshakeRefused(403, "", ""), ExitCode.REFUSED),
        (HandshakeRefused(404, "", ""), ExitCode.UNREACHABLE),
        (HandshakeRefused(426, "", ""), ExitCode.UNREACHABLE),
        (ConnectFailed("no wsctl server", final=True), ExitCode.UNREACHABLE),
    ],
)
@pytest.mark.parametrize("connected_once", [True, False])
def test_what_is_final_has_an_exit_code(event: Event, code: ExitCode, connected_once: bool) -> None:
    error = fatal_error(event, connected_once=connected_once)
    assert error
    assert error.exit_code == code


def test_a_server_is_waited_for_only_when_it_was_there_before() -> None:
    assert fatal_error(ConnectFailed("gone"), connected_once=True) is None
    error = fatal_error(ConnectFailed("gone"), connected_once=False)
    assert error
    assert error.exit_code == ExitCode.UNREACHABLE


@pytest.mark.parametrize("event", [HandshakeRefused(503, "", ""), Closed(1001, ""), Closed(4501, "")])
def test_everything_else_is_told_as_an_event(event: Event) -> None:
    assert fatal_error(event, connected_once=False) is None


def test_the_advice_is_that_of_the_cause() -> None:
    assert str(fatal_error(ConnectFailed("untrusted"), connected_once=False)) == "untrusted"
    assert str(fatal_error(ConnectFailed("gone", advice="look"), connected_once=False)) == "gone; look"
