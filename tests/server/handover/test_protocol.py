"""The sockets that a process inherits from the one that started it."""

import os
import socket
from collections.abc import Iterator

import pytest

from tests.support.other_end import Pair, no_descriptor_left
from wsctl import __version__
from wsctl.errors import CannotStart
from wsctl.ipc.framing import encode_packet
from wsctl.ipc.hello import receive_packet
from wsctl.process.spawn import HANDOVER_FD
from wsctl.server.handover.protocol import VERSION, receive_sockets

HELLO = {"version": VERSION, "release": "1.2.3", "generation": 7}


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The predecessor's end of the channel and the other one, which whoever inherits it closes."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def _why_not(fd: object) -> str:
    with pytest.raises(CannotStart) as failure:
        receive_sockets({HANDOVER_FD: str(fd)})
    assert "\n" not in str(failure.value)
    assert failure.value.exit_code == 3
    return str(failure.value)


@pytest.mark.parametrize("environ", [{}, {HANDOVER_FD: ""}, {HANDOVER_FD: "three"}, {HANDOVER_FD: "-1"}])
def test_who_was_started_by_a_person_inherits_nothing(environ: dict[str, str]) -> None:
    assert receive_sockets(environ) is None


def test_the_listeners_and_the_generation_are_inherited(pair: Pair) -> None:
    ours, theirs = pair
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.send_fds(ours, [encode_packet("hello", HELLO, (), [0])], [listener.fileno()])
        found = receive_sockets({HANDOVER_FD: str(theirs.detach())})
        assert found
        with found.channel, found.listeners[0] as inherited:
            assert found.generation == 7
            assert len(found.listeners) == 1
            assert inherited.getsockname() == listener.getsockname()
            assert not inherited.get_inheritable()
            assert not found.channel.get_inheritable()
            found.refuse("no certificate")
            refused = receive_packet(ours, 1)
    assert (refused.kind, refused.fields) == ("refused", {"why": "no certificate"})
    found.refuse("though nobody listens")


@pytest.mark.parametrize("number", [10**5, 10**12, 10**30])
def test_a_number_that_is_no_descriptor_is_one_line(number: int) -> None:
    assert f"{HANDOVER_FD}={number} leads to no server" in _why_not(number)


def test_a_file_and_a_socket_without_a_server_are_one_line() -> None:
    reading, writing = os.pipe()
    assert f"{HANDOVER_FD}={reading} leads to no server" in _why_not(reading)
    os.close(reading)
    assert f"{HANDOVER_FD}={reading} leads to no server" in _why_not(reading)
    os.close(writing)
    with no_descriptor_left():
        assert "leads to no server" in _why_not(socket.socket().detach())


@pytest.mark.parametrize(("said", "why"), [(b"", "hung up"), (b"GET / HTTP/1.1\r\n\r\n", "another language")])
def test_a_server_that_is_gone_or_is_none_is_one_line(pair: Pair, said: bytes, why: str) -> None:
    ours, theirs = pair
    fd = theirs.detach()
    ours.sendall(said)
    ours.close()
    assert why in _why_not(fd)


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize(
    ("kind", "fields"), [("hello", HELLO | {"version": VERSION + 1}), ("hello", {}), ("howdy", HELLO)]
)
def test_one_of_another_version_is_told_that_it_is_not_understood(
    pair: Pair, kind: str, fields: dict[str, object], is_there: bool
) -> None:
    ours, theirs = pair
    ours.sendall(encode_packet(kind, fields, (), ()))
    if not is_there:
        ours.close()
    why = _why_not(theirs.detach())
    release = fields.get("release")
    assert why == f"wsctl {__version__} does not understand a handover of wsctl {release}"
    if is_there:
        refused = receive_packet(ours, 1)
        assert (refused.kind, refused.fields) == ("refused", {"why": why})
