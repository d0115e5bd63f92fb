"""What a worker has from its parent."""

import os
import socket
from typing import Any

import pytest

from tests.support.server import DEADLINE
from wsctl.errors import CannotStart
from wsctl.ipc.framing import encode_packet
from wsctl.ipc.hello import receive_packet
from wsctl.process.spawn import WORKER_FD
from wsctl.server.listening.accept_balancer import create_page
from wsctl.server.workers.protocol import VERSION, receive_worker_context

HELLO: dict[str, Any] = {"version": VERSION, "number": 2, "parent": 7, "terminal": True, "colour": False}


def greeted(fields: dict[str, Any], kind: str = "hello") -> tuple[socket.socket, dict[str, str]]:
    """A parent's end, and the environment of a worker that it has said something to."""
    ours, theirs = socket.socketpair()
    ours.sendall(encode_packet(kind, fields, (), ()))
    return ours, {WORKER_FD: str(theirs.detach())}


def test_who_has_no_parent_is_no_worker() -> None:
    assert receive_worker_context({}) is None
    assert receive_worker_context({WORKER_FD: "none"}) is None


def test_a_worker_knows_its_parent_and_has_its_sockets() -> None:
    ours, theirs = socket.socketpair()
    with ours, socket.create_server(("127.0.0.1", 0)) as listening:
        page = create_page(2)
        socket.send_fds(ours, [encode_packet("hello", HELLO, (), [0, 0])], [page, listening.fileno()])
        os.close(page)
        found = receive_worker_context({WORKER_FD: str(theirs.detach())})
        assert found
        assert found.balancer
        found.balancer.close()
        with found.channel, found.listeners[0] as sock:
            assert (found.number, found.parent, found.terminal, found.colour) == (2, 7, True, False)
            assert sock.getsockname() == listening.getsockname()
            assert not sock.get_inheritable()
            assert not found.channel.get_inheritable()


def test_a_parent_of_another_version_is_told_that_there_will_be_no_worker() -> None:
    ours, environ = greeted(HELLO | {"version": VERSION + 1})
    with ours:
        with pytest.raises(CannotStart, match="restart it"):
            receive_worker_context(environ)
        told = receive_packet(ours, DEADLINE)
        assert told.kind == "refused"
        assert "restart it" in told.fields["why"]


def test_a_descriptor_that_leads_nowhere_is_told() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with pytest.raises(CannotStart, match="leads to no parent"):
        receive_worker_context({WORKER_FD: str(theirs.detach())})
    with pytest.raises(CannotStart, match="leads to no parent"):
        receive_worker_context({WORKER_FD: "987654"})
