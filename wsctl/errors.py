"""The errors that are shown to a person in one line."""

from collections.abc import Iterable
from typing import Self

from wsctl.codes import ExitCode


class WsctlError(Exception):
    """A failure whose text says what is wrong and what to do about it.

    Attributes:
        exit_code: the exit code of the process when nobody catches the error.
        details: lines that are shown below the text, such as the last ones of a traceback.
    """

    exit_code = ExitCode.ERROR

    def __init__(self, text: str, details: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.details = tuple(details)

    @property
    def lines(self) -> str:
        """The text and its details, a line each, for another process."""
        return "\n".join((str(self), *self.details))

    @classmethod
    def from_lines(cls, lines: str) -> Self:
        """Return the error whose `lines` another process has sent."""
        text, *details = lines.split("\n")
        return cls(text, details)


class UsageError(WsctlError):
    """A value, flag or combination that cannot be meant."""

    exit_code = ExitCode.USAGE


class CannotStart(WsctlError):
    """The server has no socket, certificate or folder to start with."""

    exit_code = ExitCode.CANNOT_START


class Unreachable(WsctlError):
    """No server answers at that address or on this machine."""

    exit_code = ExitCode.UNREACHABLE


class Silent(Unreachable):
    """A process of this machine is there and does not answer."""


class HungUp(Unreachable):
    """A connection that was accepted, and ended before there was a whole answer."""


class Refused(WsctlError):
    """A refusal by a server that answered: because of a token, an origin, or its drain."""

    exit_code = ExitCode.REFUSED


class HubNotStarted(WsctlError):
    """The hub of an application has not started, or has ended."""


class NotPublished(WsctlError):
    """A message that was not published, or perhaps was not.

    Attributes:
        code: `degraded` or `closing`: it was not published and never will be; `unconfirmed`: nobody knows.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def package(name: str, extra: str) -> str:
    """Say which package is missing and how to install it: from our own source, because an index has another
    program under our name."""
    return f"the package {name}: run pip install '.[{extra}]' in the folder of wsctl's source"
