"""The output of a client's session: lines for people, or JSON for programs."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from wsctl.cli.ui.aggregation import LineAggregator, RetryTracker
from wsctl.cli.ui.text import compact, left, printable
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
    Waiting,
    end_text,
    is_final,
)
from wsctl.client.stream_events import topics_text
from wsctl.client.transport import Transport

DIM, BOLD, YELLOW = "2", "1", "33"
"""SGR parameters (ECMA-48 section 8.3.117)."""

GAP_NOTE = "; some messages{} were missed: the server's history no longer reaches back"
"""The addition to the line which says that a client is connected again; it may name their topics."""

DEGRADED_NOTE = "; the server is degraded: for now it takes no messages"
"""The addition to the line which says that a client is connected; the server tells when that is over."""


STREAM_NOTE = " by an event stream"
"""The addition to the line which says that a client is connected, but by no WebSocket."""


ShowDisconnected = Callable[[str, float | None], None]
"""A function that shows in one line, which it draws over, why a client is not connected and in how many
seconds it tries again; an empty text: it is connected."""


class Transcript(Protocol):
    """The output for events. `complete`: also those that the command's last words repeat."""

    complete: bool

    def event(self, client: str, event: Event) -> None:
        """Show what happened to a client."""

    def note(self, text: str) -> None:
        """Tell the person something that is no event of a session."""

    def flush(self) -> None:
        """Show what was held back: nothing more happens."""


class JsonTranscript:
    """One object a line on `out`: the server's frames as they come, and what became of the connection."""

    complete = True

    def __init__(self, out: TextIO, err: TextIO, *, name_clients: bool) -> None:
        self._out = out
        self._err = err
        self._name_clients = name_clients

    def event(self, client: str, event: Event) -> None:
        shown = {"client": client} | _object(event) if self._name_clients else _object(event)
        # ASCII, so that no control character of somebody's text reaches a terminal.
        print(json.dumps(shown, separators=(",", ":")), file=self._out, flush=True)

    def note(self, text: str) -> None:
        print(f"wsctl: {text}", file=self._err, flush=True)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""


class PlainTranscript:
    """Messages on `out`, everything else on `err`, a line each, with the local time."""

    complete = False

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        clients: int = 1,
        colour: tuple[bool, bool] = (False, False),
        now: Callable[[], float] = time.time,
        show_disconnected: ShowDisconnected | None = None,
    ) -> None:
        self._out, self._err = out, err
        self._out_colour, self._err_colour = colour
        self._clients = clients
        self._now = now
        self._show_disconnected = show_disconnected
        self._retries = RetryTracker()
        self._lines = LineAggregator(clients, self._say)

    def event(self, client: str, event: Event) -> None:
        match event:
            case Received(frame={"type": "message"} as frame):
                self._message(client, frame)
            case Received(frame={"type": "ok"}):
                pass  # what was sent is shown when it comes back, and what was refused is an error
            case Received(frame={"type": "heartbeat"}):
                self._state(client, _state(event), DIM)
            case Closed() | Moved() | HandshakeRefused() | ConnectFailed():
                text = printable(end_text(event))
                if self._retries.ended(client, text) or is_final(event):
                    self._state(client, text, YELLOW)
            case Waiting(seconds=seconds):
                self._wait(client, seconds)
            case Opened():
                self._retries.opened(client)
                self._update_disconnected(None)
                name = "" if self._clients > 1 else f" as {printable(str(event.welcome.get('client_id')))}"
                self._state(client, f"connected{name}{_conditions(event)}", YELLOW)
            case _:
                self._state(client, _state(event), YELLOW)

    def note(self, text: str) -> None:
        self._say(text, YELLOW)

    def flush(self) -> None:
        self._lines.flush()

    def _message(self, client: str, frame: dict[str, Any]) -> None:
        tag = f"[{client}] " if self._clients > 1 else ""
        at = _paint(self._time(frame.get("ts")), DIM, self._out_colour)
        sender = _paint(_sender(frame), BOLD, self._out_colour)
        print(f"{at} {tag}{sender}: {_data(frame)}", file=self._out, flush=True)

    def _wait(self, client: str, seconds: float) -> None:
        """Show that a client tries again: in the one line for that where there is one, else now and then in a
        new one."""
        if self._show_disconnected:
            self._update_disconnected(seconds)
        elif self._retries.worth_showing(client):
            text = "; ".join(filter(None, (self._retries.why, f"retrying in {left(seconds)}")))
            if self._clients == 1:
                self._say(text, YELLOW)
            elif self._retries.why:  # that they have lost their server is told by then
                self._say(f"[{self._retries.count} of {self._clients} clients] {text}", YELLOW)

    def _update_disconnected(self, seconds: float | None) -> None:
        if not self._show_disconnected:
            return
        if not self._retries.count:
            self._show_disconnected("", None)
            return
        several = f"{self._retries.count} of {self._clients} clients away" if self._clients > 1 else ""
        words = filter(None, (several, self._retries.why))
        self._show_disconnected("; ".join(words) or "disconnected", None if self._clients > 1 else seconds)

    def _state(self, client: str, text: str, style: str) -> None:
        if self._clients > 1:
            self._lines.say(client, text, style)
        else:
            self._say(text, style)

    def _say(self, text: str, style: str) -> None:
        line = _paint(f"{self._time()} * {text}", style, self._err_colour)
        print(line, file=self._err, flush=True)

    def _time(self, ts: Any = None) -> str:
        """Return the time of day of a frame, or now."""
        try:
            return time.strftime("%H:%M:%S", time.localtime(float(ts)))
        except (TypeError, ValueError, OverflowError, OSError):
            return time.strftime("%H:%M:%S", time.localtime(self._now()))


def _paint(text: str, style: str, colour: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if colour else text


def _sender(frame: dict[str, Any]) -> str:
    sender, topic, to = printable(str(frame.get("from"))), frame.get("topic"), frame.get("to")
    if topic is not None:
        sender += f" on {printable(str(topic))}"
    return f"{sender} to {', '.join(printable(str(name)) for name in to)}" if isinstance(to, list) else sender


def _data(frame: dict[str, Any]) -> str:
    data = frame.get("data")
    return printable(data) if isinstance(data, str) else compact(data)


def _state(event: Event) -> str:
    """Describe an event that is no message."""
    match event:
        case ServerDegraded(frame=frame):
            return f"degraded: {printable(str(frame.get('message')))}"
        case ServerRestored():
            return f"back: {'nothing missed' if event.recovered else f'messages{_of(event)} were lost'}"
        case Received(frame=frame):
            return _frame(frame)
    raise AssertionError(event)


def _conditions(opened: Opened) -> str:
    gap = GAP_NOTE.format(_of(opened)) if opened.gap else ""
    if opened.transport is Transport.EVENT_STREAM:
        gap = STREAM_NOTE + gap
    return gap + (DEGRADED_NOTE if opened.degraded else "")


def _of(welcomed: Opened | ServerRestored) -> str:
    """Name the topics of which messages are lost."""
    return f" of {printable(topics_text(welcomed.lost))}" if welcomed.lost else ""


def _frame(frame: dict[str, Any]) -> str:
    match frame:
        case {"type": "heartbeat", "n": n, "connections": connections}:
            return printable(f"heartbeat {n}, connections: {connections}")
        case {"type": "shutdown", "deadline_s": None}:
            return "drain cancelled"
        case {"type": "shutdown", "deadline_s": int() | float() as seconds, "reason": reason}:
            return printable(f"server is draining, {left(seconds)} left ({reason}){_plan(frame)}")
        case {"type": "error", "code": code, "message": message}:
            return printable(f"error: {message} ({code})")
    return compact(frame)


def _plan(frame: dict[str, Any]) -> str:
    """Say when this client will leave, if it was asked to."""
    seconds = frame.get("reconnect_in_s")
    return f"; reconnecting in {left(seconds)}" if isinstance(seconds, int | float) else ""


def _object(event: Event) -> dict[str, Any]:
    match event:
        case (
            Opened(welcome=frame)
            | ServerRestored(welcome=frame)
            | ServerDegraded(frame=frame)
            | Received(frame=frame)
        ):
            return frame
        case HandshakeRefused(status=status, code=code, message=message):
            return {"type": "refused", "status": status, "code": code, "message": message}
        case ConnectFailed(message=message):
            return {"type": "failed", "message": message}
    return {"type": type(event).__name__.lower()} | asdict(event)
