"""`wsctl broadcast --lines`."""

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsctl.cli.ui.text import say
from wsctl.control.operations import MAX_BATCH_BYTES
from wsctl.errors import UsageError, WsctlError

if TYPE_CHECKING:
    from wsctl.client.control import Answer, Control
    from wsctl.client.lines import Line

MOST_NAMED = 10
"""Refused lines that the last word names; each was told before."""


@dataclass(frozen=True, slots=True)
class LineForm:
    """The form of lines: a text, JSON with `parse`, or with `objects` a whole message; `to` and `topic` are
    those of all. Each gets a key, by which it is published once however often it is sent."""

    to: tuple[str, ...] = ()
    topic: str | None = None
    parse: bool = False
    allow_empty: bool = False
    objects: bool = False
    run: str = field(default_factory=lambda: secrets.token_hex(8))

    def read(self, number: int, raw: bytes) -> "Line":
        """Return a line as it is sent, or why it cannot be."""
        from wsctl.client.lines import Line

        try:
            if len(raw) > MAX_BATCH_BYTES:
                raise ValueError(f"a line may have {MAX_BATCH_BYTES >> 20} MiB")
            return Line(number, self._body(raw.removesuffix(b"\r"), f"{self.run}-{number}"))
        except UnicodeDecodeError as error:
            return Line(number, b"", f"it is not UTF-8 at byte {error.start}: convert it first")
        except (ValueError, RecursionError) as error:
            return Line(number, b"", str(error))

    def _body(self, raw: bytes, key: str) -> bytes:
        text = raw.decode()
        if self.objects:
            return _with_key(text, key)
        if not text and not self.allow_empty:
            raise ValueError("it is empty: with --allow-empty it is sent all the same")
        body: dict[str, Any] = {"data": _value(text) if self.parse else text, "key": key}
        body |= {"to": self.to} if self.to else {}
        body |= {} if self.topic is None else {"topic": self.topic}
        return json.dumps(body).encode()


def broadcast_lines(source: str, form: LineForm, find: "Callable[[], Control]", *, as_json: bool) -> None:
    """Publish each line of a file, or of stdin, and print what became of it.

    Raises:
        WsctlError: lines were refused, or the server is not there any more.
    """
    from wsctl.client.lines import LinePublisher, read_lines

    publisher = LinePublisher(find, say)
    count, refused = 0, []
    with _open(source) as fd:
        for raw in read_lines(lambda size: os.read(fd, size)):
            lines = [form.read(count + n, each) for n, each in enumerate(raw, 1)]
            count += len(lines)
            for line, answer in publisher.publish(lines):
                _show(line, answer, as_json=as_json)
                if "error" in answer:
                    refused.append(line.number)
            sys.stdout.flush()
    if refused:
        more = f" and {len(refused) - MOST_NAMED} more" if len(refused) > MOST_NAMED else ""
        named = ", ".join(map(str, refused[:MOST_NAMED]))
        raise WsctlError(f"{len(refused)} of {count} lines were refused: {named}{more}")


def _show(line: "Line", answer: "Answer", *, as_json: bool) -> None:
    error = answer.get("error")
    if error:
        say(f"line {line.number} was refused: {error['message']}")
    if as_json:
        print(json.dumps(answer))
    elif not error:
        count = answer["recipients"]
        clients = "client" if count == 1 else "clients"
        print(f"{answer['id']}  {'repeated' if answer.get('repeated') else f'{count} {clients}'}")


@contextmanager
def _open(source: str) -> Iterator[int]:
    """Open a file for reading, or give stdin.

    Raises:
        UsageError: it cannot be read.
    """
    if source == "-":
        yield sys.stdin.fileno()
        return
    try:
        fd = os.open(source, os.O_RDONLY)
    except OSError as error:
        text = f"--lines: cannot read {source}: {error.strerror}"
        raise UsageError(f"{text}; name a file, or give --lines - to read stdin") from None
    try:
        yield fd
    except IsADirectoryError:
        raise UsageError(
            f"--lines: {source} is a folder: name a file, or give --lines - to read stdin"
        ) from None
    finally:
        os.close(fd)


def _with_key(text: str, key: str) -> bytes:
    """Return a message with a key, if it has none; what is no message is for the server to refuse."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text.encode()
    if not isinstance(found, dict) or found.get("key") is not None:
        return text.encode()
    return json.dumps(found | {"key": key}).encode()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
