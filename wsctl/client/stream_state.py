"""What the events of a session mean to a program: its messages, and the events beside them."""

from typing import Any

from wsctl.client import events
from wsctl.client.events import Closed, ConnectFailed, HandshakeRefused, Moved, Opened, Received, Waiting
from wsctl.client.stream_events import (
    Connected,
    Degraded,
    Disconnected,
    Draining,
    Joined,
    Left,
    Lost,
    Rejected,
    Restored,
    Retrying,
    StreamEvent,
)
from wsctl.codes import CloseCode
from wsctl.messages import Message

Item = Message | StreamEvent
"""What a program gets: a message, or an event beside them."""


class StreamState:
    """The connections of a client, one after the other. No I/O.

    Attributes:
        why: the reason in words why there is no connection; empty before the first attempt has ended.
    """

    def __init__(self) -> None:
        self.why = ""
        self._connected = False
        self._failed = 0

    def receive(self, event: events.Event) -> list[Item]:
        """Return what a program gets for an event of the session, in order."""
        match event:
            case Opened():
                return self._opened(event)
            case Closed() | Moved() | ConnectFailed() | HandshakeRefused():
                return self._ended(event)
            case Waiting(seconds=seconds):
                return [Retrying(self.why, seconds, self._failed)]
            case events.ServerDegraded(frame=frame):
                return [Degraded(_text(frame, "message"))]
            case events.ServerRestored(since=since):
                lost = [] if event.recovered else [Lost(since or "", _id(event.welcome), event.lost)]
                return [Restored(), *lost]
            case Received(frame=frame, awaited=awaited):
                return [] if awaited else _received(frame)  # a call returns it, or raises it

    def _opened(self, opened: Opened) -> list[Item]:
        self._connected, self._failed = True, 0
        since, newest = opened.since, _id(opened.welcome)
        how = str(opened.transport), opened.fallback
        items: list[Item] = []
        if since is None:
            items.append(Connected(opened.server, newest, None, *how))
        elif opened.recovered:
            items.append(Connected(opened.server, since, True, *how))
        else:
            position = since if opened.partly else newest
            items += [Connected(opened.server, position, False, *how), Lost(since, newest, opened.lost)]
        if opened.degraded:
            items.append(Degraded("for now it takes no messages"))
        return items

    def _ended(self, event: Closed | Moved | ConnectFailed | HandshakeRefused) -> list[Item]:
        self.why = event.advised if isinstance(event, ConnectFailed) else events.end_text(event)
        if not self._connected:
            self._failed += 1
            return []
        self._connected = False
        match event:
            case Closed(code=code, reason=reason):
                return [Disconnected(code, reason)]
            case _:
                return [Disconnected(CloseCode.NORMAL, self.why)]


def _received(frame: dict[str, Any]) -> list[Item]:
    match frame.get("type"):
        case "message":
            return [_message(frame)]
        case "error":
            return [Rejected(_text(frame, "code"), _text(frame, "message"))]
        case "joined":
            return [Joined(_text(frame, "topic"), _text(frame, "client_id"))]
        case "left":
            return [Left(_text(frame, "topic"), _text(frame, "client_id"))]
        case "shutdown":
            deadline, moment = _seconds(frame, "deadline_s"), _seconds(frame, "reconnect_in_s")
            return [Draining(deadline, _text(frame, "reason"), moment)]
    return []


def _message(frame: dict[str, Any]) -> Message:
    to = frame.get("to")
    return Message(
        id=_id(frame),
        ts=_seconds(frame, "ts") or 0.0,
        sender=_text(frame, "from"),
        data=frame.get("data"),
        to=tuple(map(str, to)) if isinstance(to, list) else None,
        shown=isinstance(to, list) and len(to) > 1,
        topic=str(topic) if (topic := frame.get("topic")) is not None else None,
        traceparent=str(trace) if (trace := frame.get("traceparent")) is not None else None,
    )


def _id(frame: dict[str, Any]) -> str:
    return _text(frame, "id")


def _text(frame: dict[str, Any], field: str) -> str:
    return str(frame.get(field, ""))


def _seconds(frame: dict[str, Any], field: str) -> float | None:
    value = frame.get(field)
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:  # an integer that no time is
        return None
