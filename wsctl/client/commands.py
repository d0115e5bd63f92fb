"""The commands of a client that speaks `wsctl.2`: as text, and which answer is to which."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsctl.errors import WsctlError

COMMANDS = "wsctl.2"
"""The subprotocol in which each text of a client is a command, and is answered."""

OFFERED = (COMMANDS, "wsctl")
"""The subprotocols that are offered for commands. A server of a release before these chooses the second: then
a text is the data of a message."""

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class CommandRefused(WsctlError):
    """A command that the server refused: nothing was done.

    Attributes:
        code: `topic_not_allowed`, `rate_limited`, `publish_disabled`, `degraded` and others of `wsctl docs
            protocol`; `unknown_command` from a server of a release that knows no topics.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{text} ({code})" if text else code)
        self.code = code


def encode_command(kind: str, fields: Mapping[str, Any], ref: int | str | None = None) -> str:
    """Return a command as it is sent; fields that are None are left out, but the data.

    Raises:
        TypeError, ValueError: the fields are not JSON, or have half a surrogate pair in them.
    """
    told: dict[str, Any] = {"type": kind, "ref": ref, **fields}
    text = _encode({name: value for name, value in told.items() if value is not None or name == "data"})
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text has half a surrogate pair in it, which cannot be sent") from None
    return text


@dataclass(eq=False, slots=True)
class PendingCommand:
    """A command under way. `answer` is the server's `ok`, or `CommandRefused`, or the error with which the
    connection ended."""

    type: str
    fields: Mapping[str, Any]
    ref: int
    answer: "asyncio.Future[dict[str, Any]]"

    @property
    def text(self) -> str:
        """The command as it is sent."""
        return encode_command(self.type, self.fields, self.ref)


class Commands:
    """The commands of a client on its connections, one after the other. No I/O.

    A `ref` is given once, so that an answer is never taken for that to another command.
    """

    def __init__(self) -> None:
        self._given = 0
        self._open: dict[int, PendingCommand] = {}

    def begin(self, kind: str, fields: Mapping[str, Any]) -> PendingCommand:
        """Return a new command, which waits for its answer."""
        self._given += 1
        command = PendingCommand(kind, fields, self._given, asyncio.get_running_loop().create_future())
        self._open[command.ref] = command
        return command

    def forget(self, command: PendingCommand) -> None:
        """Wait no longer for the answer to a command."""
        self._open.pop(command.ref, None)

    def receive(self, frame: Mapping[str, Any]) -> PendingCommand | None:
        """Take a frame; return the command that it answers, or None."""
        ref = frame.get("ref")
        command = self._open.pop(ref, None) if isinstance(ref, int) else None
        if command is None or command.answer.done():
            return None
        if frame.get("type") == "ok":
            command.answer.set_result(dict(frame))
        else:
            refusal = CommandRefused(str(frame.get("code", "")), str(frame.get("message", "")))
            command.answer.set_exception(refusal)
        return command

    def disconnect(self, error: Exception) -> None:
        """Note that the connection is over: no command on it will be answered."""
        for command in self._open.values():
            if not command.answer.done():
                command.answer.set_exception(error)
        self._open.clear()
