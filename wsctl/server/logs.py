"""The formats of the log: one line an event, its facts as fields."""

import contextlib
import errno
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, Any, TextIO

from wsctl.addresses import host_port
from wsctl.settings import LogFormat

LOGGERS = ("wsctl", "asyncio", "uvicorn.error", "uvicorn.access")

_QUOTED = re.compile('[ "=]')
"""What a value is quoted for."""

# Each handshake writes a line: to make an encoder takes longer than to use it.
_TO_JSON = json.JSONEncoder(default=str, ensure_ascii=False).encode
_TO_ASCII_JSON = json.JSONEncoder(default=str).encode

_COLOURS = {"DEBUG": "\x1b[2m", "INFO": "\x1b[32m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m"}
_RESET = "\x1b[0m"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _details(record: logging.LogRecord) -> str:
    """Return the lines that belong below the event: a traceback, also one of another process."""
    details: str = getattr(record, "details", "")
    return details


def _word(value: object) -> str:
    """Write a value on one line, whatever is in it: what could forge a line or move the cursor is escaped."""
    text = value if isinstance(value, str) else _TO_JSON(value)
    if text and text.isprintable() and not _QUOTED.search(text):
        return text
    if not isinstance(value, str) and text.isprintable():
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _indented(trace: str) -> str:
    """Indent a traceback so that no line of it can pass for an event's, whatever the exception's text is."""
    lines = trace.split("\n")
    return "".join("\n  " + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)


class TextFormatter(logging.Formatter):
    """A formatter of lines like `12:00:01 INFO connected client_id=bob`; with the date and zone unless a
    `person` watches."""

    def __init__(self, *, person: bool, colour: bool) -> None:
        super().__init__()
        self._person = person
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        event = record.getMessage()
        if not event.isprintable():
            event = _word(event)
        words = [self._time(record), self._level(record.levelname), event]
        words += [f"{name}={_word(value)}" for name, value in _fields(record).items()]
        below = self.formatException(record.exc_info) if record.exc_info else _details(record)
        return " ".join(words) + (_indented(below) if below else "")

    def _time(self, record: logging.LogRecord) -> str:
        if self._person:
            return _clock_time(int(record.created))
        return _timestamp(record)

    def _level(self, level: str) -> str:
        return f"{_COLOURS.get(level, '')}{level}{_RESET}" if self._colour else level


class JsonFormatter(logging.Formatter):
    """A formatter of one JSON object a line: `ts`, `level`, `logger`, `event`, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif details := _details(record):
            line["exception"] = details
        return _TO_ASCII_JSON(line)


def _timestamp(record: logging.LogRecord) -> str:
    seconds, fraction = divmod(record.created, 1)
    return f"{_date_and_time(int(seconds))}.{int(1000 * fraction):03}Z"


@lru_cache(maxsize=2)
def _date_and_time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


@lru_cache(maxsize=2)
def _clock_time(seconds: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def formatter(style: LogFormat, *, terminal: bool, colour: bool) -> logging.Formatter:
    """Return the formatter of a style: `auto` and `text` are for people on a terminal and have full
    timestamps elsewhere."""
    return JsonFormatter() if style == "json" else TextFormatter(person=terminal, colour=colour)


_SECRETS = re.compile(
    r"""(access_token=)[^\s&]+|(\bbearer[ .] *)\S+|("token"\s*:\s*")[^"]+|\beyJ[\w-]{6,}\.[\w.-]*""",
    re.IGNORECASE,
)
"""The credentials of clients in an address, a header, a subprotocol or a frame, and whatever begins as a
JWT."""


def redact(text: str) -> str:
    """Return a text for the log with the credentials of clients replaced by `***`."""
    return _SECRETS.sub(lambda found: "".join(filter(None, found.groups())) + "***", text)


class SecretsFilter(logging.Filter):
    """A filter that replaces credentials in what other libraries log: addresses as they were asked for, and
    at their lowest level headers and frames too."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_redacted(value) for value in record.args)
            if str(record.msg).startswith(_OF_A_CLIENT):
                record.args = (_in_brackets(record.args[0]), *record.args[1:])
        told = record.getMessage()
        if (redacted := redact(told)) != told:
            record.msg, record.args = redacted, ()
        return True


_OF_A_CLIENT = "%s - "
"""The beginning of uvicorn's lines about a client's request."""

_VERSION_6 = re.compile(r"([\w.%:]*:[\w.%:]*):(\d+)")


def _in_brackets(value: object) -> object:
    """Write an IPv6 address and its port with brackets, which uvicorn leaves out; other values stay as they
    are."""
    found = _VERSION_6.fullmatch(value) if isinstance(value, str) else None
    return host_port(found[1], int(found[2])) if found else value


def _redacted(value: object) -> object:
    """Return a value without credentials; the value itself where it has none: formatters count on its
    type."""
    shown = str(value)
    redacted = redact(shown)
    return value if redacted == shown else redacted


def filter_secrets() -> None:
    """Replace credentials in what uvicorn logs from here on."""
    for name in ("uvicorn.access", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, SecretsFilter) for each in logger.filters):
            logger.addFilter(SecretsFilter())


def configure(handler: logging.Handler, level: str, *, access: bool) -> None:
    """Send our log to one handler, and warnings of uvicorn and asyncio; uvicorn's access log too if
    `access`."""
    filter_secrets()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    for name in ("asyncio", "uvicorn.error"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    if not access:
        logging.getLogger("uvicorn.access").handlers = []


_NO_READER = frozenset({errno.EIO, errno.EPIPE})
"""The errors of a write to a terminal that is gone, and to a pipe without a reader."""


@contextlib.contextmanager
def tolerate_lost_reader(stream: IO[str]) -> Iterator[None]:
    """Let a block write to a stream whose reader may go while the server drains. From then on the stream, and
    each of descriptors 0 to 2 that leads to the same place, leads to /dev/null: nothing fails any more, and
    the exit code stays the same."""
    try:
        yield
    except OSError as error:
        _tolerate(error, stream)


def _tolerate(error: OSError, stream: IO[str]) -> None:
    if error.errno not in _NO_READER:
        raise error
    _redirect_to_null(stream.fileno())


def _redirect_to_null(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    gone = [each for each in (0, 1, 2) if _is_same(each, fd)]
    for each in {fd, *gone}:
        os.dup2(null, each)
    os.close(null)


def _is_same(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:  # it is closed
        return False


class LineHandler(logging.StreamHandler[TextIO]):
    """A handler that writes lines to a stream for as long as somebody reads it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record) + self.terminator)
        except Exception:
            self.handleError(record)

    def _write(self, line: str) -> None:
        """Write a line as in `tolerate_lost_reader`, which takes longer to enter: each handshake writes a
        line."""
        try:
            self.stream.write(line)
            self.stream.flush()
        except OSError as error:
            _tolerate(error, self.stream)


def stream_handler(stream: TextIO, style: LogFormat, *, colour: bool) -> logging.Handler:
    """Return a handler that writes lines to a stream."""
    handler = LineHandler(stream)
    handler.setFormatter(formatter(style, terminal=stream.isatty(), colour=colour))
    return handler
