"""What the frames that a server sends mean to a client: its position among all messages, and events."""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from wsctl.client.events import (
    DEGRADED,
    TOPIC_NOT_ALLOWED,
    Event,
    Opened,
    Received,
    ServerDegraded,
    ServerRestored,
    lost_topics,
    texts,
)

FRAMES_REMEMBERED = 4
"""Frames whose decoding is remembered: a crowd of sessions in one process gets the same frame a thousand
times in a row, and seldom a few of them in turn. Few, for a frame may be large."""


@lru_cache(FRAMES_REMEMBERED)
def decode_frame(data: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object in a frame; None when it holds none. The object is shared: for reading only."""
    try:
        frame = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) else None


class Cursor:
    """The id of the last message that a client knows of. Ids are opaque: only a server compares them.

    Attributes:
        at: the id; None before the first welcome of a client that begins without one.
    """

    def __init__(self, at: str | None = None) -> None:
        self.at = at

    def url(self, url: str, topics: Iterable[str] = ()) -> str:
        """Return the URL that subscribes to these topics, and asks for everything behind the cursor, too."""
        query = [] if self.at is None else [f"since={quote(self.at, safe='')}"]
        query += [f"topic={quote(topic, safe='*:@')}" for topic in topics]
        return f"{url}?{'&'.join(query)}" if query else url

    def welcome(self, frame: dict[str, Any], *, follows: bool) -> None:
        """Take a `welcome`: a connection begins, or its server is whole again. When something that was missed
        follows, the cursor stays before it; else that is lost, and the cursor goes to the newest message."""
        if not follows:
            self._move(frame)

    def subscribed(self, frame: dict[str, Any]) -> None:
        """Take the `ok` to a subscription. All that came before its id has been sent before it, and of the
        new topics only what comes after it is wanted."""
        self._move(frame)

    def message(self, frame: dict[str, Any]) -> None:
        """Take a message. Messages come in order, so that it is the last one."""
        self._move(frame)

    def _move(self, frame: dict[str, Any]) -> None:
        at = frame.get("id")
        if isinstance(at, str):
            self.at = at


class FrameState:
    """The frames of a client's connections, one after the other, as events. No I/O.

    Attributes:
        cursor: the position of the client.
        topics: the topics and patterns that the client subscribes to, now and at its next connections.
        watched: those of them of which it is told who comes and goes.
        welcomed: True if the present connection was welcomed.
    """

    def __init__(self, since: str | None = None, topics: Iterable[str] = ()) -> None:
        self.cursor = Cursor(since)
        self.topics = list(dict.fromkeys(topics))
        self.watched: set[str] = set()
        self.welcomed = False
        self._degraded = False

    def url(self, url: str, topics: Iterable[str] = ()) -> str:
        """Return the URL of the next connection, with these topics beside those that there are."""
        return self.cursor.url(url, dict.fromkeys((*self.topics, *topics)))

    def subscribe(self, topics: Iterable[str], ok: dict[str, Any], *, events: bool = False) -> None:
        """Note that the server has taken these subscriptions, with its answer."""
        topics = tuple(topics)
        self.watched = self.watched | {*topics} if events else self.watched - {*topics}
        self.topics = list(dict.fromkeys((*self.topics, *topics)))
        self.cursor.subscribed(ok)

    def unsubscribe(self, topics: Iterable[str]) -> None:
        """Note that these subscriptions are over."""
        gone = set(topics)
        self.watched -= gone
        self.topics = [topic for topic in self.topics if topic not in gone]

    def disconnect(self) -> None:
        """Note that the connection is over."""
        self.welcomed = self._degraded = False

    def receive(self, frame: dict[str, Any], server: str) -> Event:
        """Return the event of a frame, which came from the server with the name `server`."""
        match frame.get("type"):
            case "message":
                self.cursor.message(frame)
            case "welcome":
                return self._receive_welcome(frame, server)
            case "error" if self._becomes_degraded(frame):
                self._degraded = True
                return ServerDegraded(frame)
            case "error" if frame.get("code") == TOPIC_NOT_ALLOWED and "ref" not in frame:
                # New credentials permit less. The next connection is not to ask for what it would not get.
                self.unsubscribe(texts(frame, "topics"))
        return Received(frame)

    def _receive_welcome(self, frame: dict[str, Any], server: str) -> Opened | ServerRestored:
        since = self.cursor.at
        opened = Opened(frame, since, server, partly=since is not None and self._is_partial(frame))
        again, self.welcomed = self.welcomed, True
        self._degraded = opened.degraded
        self.cursor.welcome(frame, follows=opened.partly or frame.get("recovered") is True)
        return ServerRestored(frame, since) if again else opened

    def _is_partial(self, frame: dict[str, Any]) -> bool:
        """Tell whether what is kept of some topics follows although others are lost. Nothing follows where
        all are lost that were subscribed to, and a client without topics gets everything or nothing."""
        all_lost = set(lost_topics(frame)) >= set(self.topics)
        return frame.get("recovered") is not True and not all_lost

    def _becomes_degraded(self, frame: dict[str, Any]) -> bool:
        """Tell whether this error says that the server has become degraded; any further one until it is whole
        again answers a message that it did not take."""
        told = frame.get("code") == DEGRADED and "ref" not in frame
        return told and self.welcomed and not self._degraded
