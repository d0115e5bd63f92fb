"""What a process has from those that have started it, and how they learn that it cannot start."""

import os
import socket
from collections.abc import Iterator

import pytest

from tests.support.server import DEADLINE
from wsctl.errors import CannotStart
from wsctl.ipc.framing import encode_packet
from wsctl.ipc.hello import receive_packet
from wsctl.process.spawn import HANDOVER_FD, WORKER_FD
from wsctl.server.handover import protocol as handover
from wsctl.server.listening.accept_balancer import create_page
from wsctl.server.starters import Starters
from wsctl.server.workers import protocol as workers

OF_PREDECESSOR = {"version": handover.VERSION, "generation": 2}
OF_PARENT = {"version": workers.VERSION, "number": 1, "parent": 7, "terminal": False, "colour": False}


@pytest.fixture
def predecessor() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A predecessor's end, and the environment of its successor."""
    ours, theirs = socket.socketpair()
    ours.sendall(encode_packet("hello", OF_PREDECESSOR, (), ()))
    with ours:
        yield ours, {HANDOVER_FD: str(theirs.detach())}


@pytest.fixture
def parent() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A parent's end, and the environment of its worker."""
    ours, theirs = socket.socketpair()
    page = create_page(1)
    socket.send_fds(ours, [encode_packet("hello", OF_PARENT, (), [0])], [page])
    os.close(page)
    with ours:
        yield ours, {WORKER_FD: str(theirs.detach())}


def _told(end: socket.socket) -> object:
    packet = receive_packet(end, DEADLINE)
    assert packet.kind == "refused"
    return packet.fields["why"]


def _dispose(starters: Starters) -> None:
    worker = starters.worker()
    assert worker
    assert worker.balancer
    worker.balancer.close()
    worker.channel.close()


def test_who_was_started_by_a_person_has_nobody_to_tell() -> None:
    starters = Starters({})
    assert starters.inherited() is starters.worker() is None
    assert not starters.refuse("no certificate")


def test_each_is_asked_once_and_told(
    predecessor: tuple[socket.socket, dict[str, str]], parent: tuple[socket.socket, dict[str, str]]
) -> None:
    starters = Starters(predecessor[1] | parent[1])
    inherited, worker = starters.inherited(), starters.worker()
    assert inherited
    assert worker
    assert (inherited.generation, worker.parent) == (2, 7)
    assert starters.inherited() is inherited
    assert starters.worker() is worker
    assert starters.refuse("no certificate")
    assert [_told(predecessor[0]), _told(parent[0])] == ["no certificate"] * 2
    inherited.channel.close()
    _dispose(starters)


def test_who_was_not_asked_before_is_told_too(parent: tuple[socket.socket, dict[str, str]]) -> None:
    starters = Starters(parent[1])
    assert starters.refuse("a file with a secret has changed")
    assert _told(parent[0]) == "a file with a secret has changed"
    _dispose(starters)


def test_who_could_not_be_asked_is_not_asked_again(parent: tuple[socket.socket, dict[str, str]]) -> None:
    with open(os.devnull) as nothing:
        starters = Starters(parent[1] | {HANDOVER_FD: str(os.dup(nothing.fileno()))})
    with pytest.raises(CannotStart, match="leads to no server that hands over"):
        starters.inherited()
    assert starters.refuse("it leads to no server")
    assert _told(parent[0]) == "it leads to no server"
    _dispose(starters)
