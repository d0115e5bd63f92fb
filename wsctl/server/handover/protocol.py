"""The handover to a fresh process: the conversation of the two processes.

The old process is called the predecessor, the new one the successor. They speak in packets:

    predecessor                                 successor
    hello: version, generation, kind of
      the key, listeners, how many of the
      last of them are the admin address's -->
                                           <--  pid: the process in which it goes on
                                           <--  ready, with topics and streams if it knows of any; or
                                                  refused: why
    -- from here on the predecessor gives no ids and accepts no connections --
    history: messages, in pieces           -->
    rates: what clients may still send, now and
      whenever some move or leave        -->
    begin: position of the log, who is there,
      each connection with its serial and its
      patterns; who subscribes elsewhere;
      idempotency keys; topics             -->
    publish: what a client here sends      -->
                                           <--  message: what got its id, for those still here
                                           <--  unpublished: what got none, and why; repeated: what has an
                                                  idempotency key that was seen, and that message's id
                                           <--  away, back: how Redis is, if there is one
                                           <--  presence: changes of who subscribes to what, on either
                                                  side and elsewhere, in the order in which they count
    move: connections, oldest first, their
      serials; the presence that they know -->
                                           <--  moved: how many, the longest silence among them
    joined, left: who came and went here;
      subscribed: all patterns of one here -->
                                           <--  replaced: a connection here whose id has too many newer
    listen: nearly all are moved           -->
    doors: connections that said nothing yet,
      or wait for their next request; whether
      at the admin address                 -->
    over: nothing moves any more; the load
      of the last hour                     -->
                                           <--  listening

A process that has not said `topics` is of an earlier release: it gets no message with a topic and no
`presence`, and says no serials. One that has not said `streams` gets no event stream.

When the predecessor hangs up, all is done. When it does so before `listen`, it was killed, and the
successor serves with what it has got. When the successor goes before `listening`, the predecessor gives
ids and accepts connections again.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from wsctl import __version__
from wsctl.ipc.hello import receive_hello, refuse, split_admin
from wsctl.process.spawn import HANDOVER_FD

VERSION = 3
"""The version of the conversation above. A successor of another version refuses, and the predecessor goes
on."""

STALL_TIMEOUT = 10.0
"""Seconds without a packet of the other process after which it counts as hanging: as long as a client that
does not read."""


@dataclass(frozen=True, slots=True)
class InheritedSockets:
    """The sockets that a successor starts with, and what it is told beside them. `keys` is the kind of keys
    that its predecessor checks tokens with; None when it has none, or did not tell. `admin` are the sockets
    of the admin address."""

    channel: socket.socket
    listeners: list[socket.socket]
    generation: int
    keys: str | None = None
    admin: list[socket.socket] = field(default_factory=list)

    def refuse(self, why: str) -> None:
        """Tell the predecessor why this process will not take over."""
        refuse(self.channel, why)


def receive_sockets(environ: Mapping[str, str]) -> InheritedSockets | None:
    """Receive the sockets that a predecessor passes to this process; return None when it has none.

    Raises:
        CannotStart: the predecessor is gone, or of a version that is not understood here.
    """
    mismatch = f"wsctl {__version__} does not understand a handover of wsctl {{release}}"
    found = receive_hello(
        environ, HANDOVER_FD, VERSION, missing="no server that hands over", mismatch=mismatch
    )
    if found is None:
        return None
    told = found.packet.fields
    public, admin = split_admin(found.packet.fds, told)
    return InheritedSockets(found.channel, public, told["generation"], told.get("keys"), admin)
