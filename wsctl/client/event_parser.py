"""The reader of server-sent events (HTML standard, section 9.2.6)."""

import codecs
import re
from typing import NamedTuple

_LINE_END = re.compile(r"\r\n|\n|\r")


class ServerSentEvent(NamedTuple):
    """An event; `type` is `message` where the stream names none."""

    type: str
    data: str


class EventParser:
    """Reads a stream in whichever pieces it comes. No I/O. Comments and fields that nobody needs are left
    out, an unfinished event at the end is none.

    Attributes:
        retry: the seconds after which the stream says to connect again; None where it says nothing.
        pending: the characters of the unfinished event.
    """

    def __init__(self) -> None:
        self.retry: float | None = None
        self.pending = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest: list[str] = []
        self._type = ""
        self._data: list[str] = []
        self._began = False

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take bytes; return the events that they complete."""
        text = self._decoder.decode(data)
        if not self._began and text:
            self._began, text = True, text.removeprefix("\ufeff")
        self.pending += len(text)
        if "\n" not in text and "\r" not in text:
            self._rest.append(text)
            return []
        whole = "".join((*self._rest, text))
        # The second half of a line's end may be still to come.
        held = "\r" if whole.endswith("\r") else ""
        *lines, rest = _LINE_END.split(whole.removesuffix(held))
        self._rest = [rest + held]
        return [event for line in lines if (event := self._line(line))]

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            event = ServerSentEvent(self._type or "message", "\n".join(self._data)) if self._data else None
            self._type, self._data, self.pending = "", [], 0
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "retry" if value.isascii() and value.isdigit() and len(value) < 10:
                self.retry = int(value) / 1000
        return None
