"""The presence of two processes in a handover. The successor, which knows what both say, decides who
subscribes to what; the predecessor hears everything from it, in its order."""

from collections.abc import Iterable, Sequence
from typing import Any

from wsctl.hub.presence import SUCCESSOR, Change, TopicPresence
from wsctl.log.home import RemoteConnection
from wsctl.log.transfer import Send
from wsctl.server.handover.forwarded_log import LogRelay

PREDECESSOR = "predecessor"
"""The holder of connections that are with the predecessor, or on their way here."""


class PresenceFeed:
    """The successor's end: tells the predecessor each change, with a number. A connection that moves has seen
    the changes up to such a number, and is told of what came behind it."""

    def __init__(self, presence: TopicPresence, send: Send) -> None:
        self._presence = presence
        self._send = send
        self._number = 0
        self._told: list[Sequence[Change]] = []
        self._moving = False

    def begin(self, relay: LogRelay, elsewhere: Iterable[Sequence[Any]]) -> None:
        """Take over what the predecessor knows: its own connections, and those `elsewhere`, each with its
        holder."""
        rows: dict[str, list[RemoteConnection]] = {PREDECESSOR: relay.connections}
        for holder, *row in elsewhere:
            rows.setdefault(holder, []).append(RemoteConnection(*row))
        for holder, some in rows.items():
            self._presence.learn(holder, some, whole=True)
        if relay.knows_topics:
            self._moving = True
            self._presence.observers.append(self._changed)

    def since(self, number: int) -> list[Change]:
        """Return the changes behind this number, while connections move."""
        return [change for changes in self._told[number:] for change in changes] if self._moving else []

    def settled(self) -> None:
        """Note that nothing moves any more."""
        self._moving = False
        self._told = []

    def end(self) -> None:
        """Note that the predecessor is gone, and its connections with it, but for those on their way here."""
        if self._changed in self._presence.observers:
            self._presence.observers.remove(self._changed)

    def _changed(self, changes: Sequence[Change]) -> None:
        self._number += 1
        if self._moving:
            self._told.append(changes)
        rows = [
            [_holder_there(holder), client_id, serial, now.patterns if now else ()]
            for serial, client_id, _, now, holder in changes
        ]
        self._send("presence", {"number": self._number, "connections": rows})


def _holder_there(holder: str | None) -> str | None:
    """Return the holder of a connection as the predecessor sees it: None for itself."""
    return SUCCESSOR if holder is None else None if holder == PREDECESSOR else holder
