"""Many messages, published in batches: each once, also when the server is upgraded, drains or restarts in the
middle."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from wsctl.client.control import (
    Answer,
    ClosingError,
    ConflictError,
    Control,
    DegradedError,
    UnconfirmedError,
)
from wsctl.codes import ErrorCode
from wsctl.control.operations import MAX_BATCH_BYTES
from wsctl.errors import HungUp, Unreachable, WsctlError

LINES_TOGETHER = 1_000
"""Lines of a request, at most: a tenth of the keys that a server remembers."""

BYTES_TOGETHER = 1 << 20
"""Bytes of a request, about; a longer line goes alone."""

PATIENCE = 60.0
"""Seconds for which lines are sent again and again: longer than a restart takes, shorter than keys are
remembered."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two tries: doubled from the first to the second."""

CHUNK = 1 << 18
"""Bytes that are read at a time."""

_CLOSING = "closing"
_AGAIN = frozenset({ErrorCode.DEGRADED, ErrorCode.UNCONFIRMED, _CLOSING})
"""The codes of errors that end by themselves; with its key a line can be sent again."""

_PASSING = (Unreachable, ConflictError, DegradedError, UnconfirmedError, ClosingError)
"""The same of whole requests; a conflict is that no worker serves at the moment."""


class Line(NamedTuple):
    """A line, counted from 1: the JSON that is sent for it, or why it cannot be."""

    number: int
    body: bytes
    error: str | None = None


class LinePublisher:
    """Publishes lines by a server that `find` returns, before each request anew: after an upgrade it is
    another one. `waiting` gets a text for people when lines are to be sent again.

    A server that never answered is not waited for, as its address may be wrong. It may hang up once: so does
    one that crashes amid the first request.
    """

    def __init__(
        self,
        find: Callable[[], Control],
        waiting: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._find = find
        self._waiting = waiting
        self._clock = clock
        self._pause = pause
        self._has_answered = self._has_hung_up = False

    def publish(self, lines: Sequence[Line]) -> Iterator[tuple[Line, Answer]]:
        """Yield each line with its receipt, or with an object that has its `error`.

        Raises:
            WsctlError: the server cannot publish, or not any more; the text names the first line about which
                nothing is known.
        """
        for some in _requests(lines):
            yield from self._publish_some(some)

    def _publish_some(self, lines: Sequence[Line]) -> Iterator[tuple[Line, Answer]]:
        answers = {line.number: _refused(line.error) for line in lines if line.error}
        left = [line for line in lines if not line.error]
        until, pause = self._clock() + PATIENCE, FIRST_PAUSE
        while left:
            before = len(left)
            error = self._send(left, answers)
            left = [line for line in left if line.number not in answers]
            if not left or (len(left) < before and error is None):
                continue
            if self._clock() >= until:
                raise _given_up(error, left[0])
            if pause == FIRST_PAUSE:
                self._waiting(f"line {left[0].number} and those behind it are sent again: {error}")
            self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        for line in lines:
            yield line, answers[line.number]

    def _send(self, lines: Sequence[Line], answers: dict[int, Answer]) -> WsctlError | None:
        """Send lines once, and note those that have their answer; return why others have none."""
        try:
            found = self._find().publish_lines([line.body for line in lines])
        except _PASSING as error:
            if isinstance(error, Unreachable) and self._is_unknown(error):
                raise
            return error
        self._has_answered = True
        why = None
        for line, answer in zip(lines, found, strict=True):
            if (refused := answer.get("error")) and refused["code"] in _AGAIN:
                why = WsctlError(refused["message"])
            else:
                answers[line.number] = answer
        return why

    def _is_unknown(self, error: Unreachable) -> bool:
        """Tell whether nothing says that a server was ever there."""
        hung_up = isinstance(error, HungUp)
        unknown = not self._has_answered and hung_up == self._has_hung_up
        self._has_hung_up |= hung_up
        return unknown


def read_lines(read: Callable[[int], bytes]) -> Iterator[list[bytes]]:
    """Yield lines as they come, without their ends, several at a time; `read` returns some bytes of what is
    there, at least one, or none at its end. Of a line that no server takes only the beginning is kept."""
    rest = b""
    while chunk := read(CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[: MAX_BATCH_BYTES + 1]
        if lines:
            yield lines
    if rest:
        yield [rest]


def _requests(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield the lines in groups, of which each is one request."""
    some: list[Line] = []
    size = 0
    for line in lines:
        if some and (len(some) == LINES_TOGETHER or size + len(line.body) > BYTES_TOGETHER):
            yield some
            some, size = [], 0
        some.append(line)
        size += len(line.body)
    if some:
        yield some


def _refused(text: str) -> Answer:
    return {"error": {"code": "bad_request", "message": text}}


def _given_up(error: WsctlError | None, line: Line) -> WsctlError:
    """Return the error of lines that were sent again for too long, of the same kind."""
    kind: Any = type(error) if error else WsctlError
    text = f"{error}; line {line.number} and those behind it may be missing: send them again"
    found: WsctlError = kind(text)
    return found
