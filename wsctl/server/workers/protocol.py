"""The workers of one server: the conversation of the parent and a worker.

The parent has the listening sockets and no client; each worker is a server of its own on these sockets.
They speak in packets, over a channel that each worker is given when it is started:

    parent                                      worker
    hello: version, number, look, kind of
      the key; page of counts, listeners,
      those of the admin address last, and
      how many they are; whether the server
      is being upgraded                  -->
                                             <--  refused: why, when it cannot start
                                             <--  listening: clients and operators reach it;
                                                  the kind of its key
                                             <--  report: its status and the exit code as things stand,
                                                  once a second, and at each step of a drain or handover
    signal: one came to the parent           -->
    force: the operator insists              -->
    upgrading: an upgrade of the parent and
      all workers is under way, or over      -->
    ask: number, method, path, body          <->  ask: the same
    answer: number, status, body             <->  answer: the same
                                             <--  successor: start one; the channel to it comes along
                                             <--  kill: end it, the handover has failed
    ended: it has, with an exit code         -->

Without --redis the log of all is the parent's:

    parent                                      worker
                                             <--  follow: from here on, with the history or without;
                                                  topics, if it knows of any
    history: messages, in pieces             -->
    begun: its place; why no messages are
      published, if they are not; topics     -->
    message: what got its id, its key and
      for how many clients it is             -->
                                             <--  publish: a draft, by its key
    unpublished: a draft that got none,
      and why                                -->
    repeated: one whose idempotency key was
      seen before, with that message's id    -->
    away, back: how the home of the log is   -->
    renewing, renewed: the parent goes on as
      another program: it is late with all;
      topics, in the second                  -->
                                             <--  joined, left: a client's connection, by its serial; with
                                                  the patterns that it subscribes to, if there are any
                                             <--  subscribed: all patterns that it has by now
    replaced: a connection of a client that
      has too many newer ones                -->
    presence: connections of all workers, by
      number, that subscribe to something
      else, or to nothing any more; or all
      that subscribe, in pieces              -->
                                             <--  suspend: a successor goes on in its place
    suspended: all that it said was heard    -->
                                             <--  present: the connections that the worker has, in place of
                                                  those of the process before

A worker that has not said `topics` is of an earlier release: it gets no `presence`, and no message with a
topic, which it would deliver to everyone. A parent that has not said it gets no such message either.

Requests are those of the control API: the parent asks one worker, a worker asks the parent for all. A worker
whose parent hangs up drains as on SIGTERM. A parent whose worker hangs up waits for its exit code.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from wsctl import __version__
from wsctl.ipc.hello import receive_hello, refuse, split_admin
from wsctl.process.spawn import WORKER_FD
from wsctl.server.listening.accept_balancer import AcceptBalancer

VERSION = 2
"""The version of the conversation above. A worker of another version refuses: it cannot join the parent that
runs."""

REPORT_EVERY = 0.25
"""Seconds between two reports of a drain: as often as the bar moves."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The sockets and facts that a worker has from its parent, before it has an event loop.

    Attributes:
        parent: the pid of its parent.
        terminal, colour: the look of its lines, which may go through the parent.
        balancer: how many connections each worker has.
        listeners: the sockets that clients reach; none when a predecessor has them for it.
        admin: the sockets of the admin address, in the same way.
        keys: the kind of keys that the others check tokens with; None when they have none, or it is not
            known.
        upgrading: whether the parent or one of its workers is being replaced.
    """

    channel: socket.socket
    number: int
    parent: int
    terminal: bool
    colour: bool
    balancer: AcceptBalancer | None
    listeners: list[socket.socket]
    keys: str | None = None
    admin: list[socket.socket] = field(default_factory=list)
    upgrading: bool = False

    def refuse(self, why: str) -> None:
        """Tell the parent why this process cannot start: the parent reports it, once for all workers."""
        refuse(self.channel, why)


def receive_worker_context(environ: Mapping[str, str]) -> WorkerContext | None:
    """Read what a parent passes to this process; return None when it is no worker.

    Raises:
        CannotStart: the parent is gone, or of a version that is not understood here.
    """
    mismatch = f"wsctl {__version__} cannot be a worker of the parent that runs: restart it"
    hello = receive_hello(environ, WORKER_FD, VERSION, missing="no parent of workers", mismatch=mismatch)
    if hello is None:
        return None
    fields, (page, *public) = hello.packet.fields, hello.packet.fds
    balancer = AcceptBalancer(page, fields["number"])
    os.close(page)
    listeners, admin = split_admin(public, fields)
    return WorkerContext(
        hello.channel,
        fields["number"],
        fields["parent"],
        fields["terminal"],
        fields["colour"],
        balancer,
        listeners,
        fields.get("keys"),
        admin,
        fields.get("upgrading", False),
    )
