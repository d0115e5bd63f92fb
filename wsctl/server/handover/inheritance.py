"""What a predecessor has for a process that is to succeed it."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from wsctl import __version__
from wsctl.lifecycle.greeting import greeting, refuse
from wsctl.lifecycle.handover import VARIABLE, VERSION


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a successor starts with. `keys` is the kind of what its predecessor checks tokens with; None when
    that is nothing, or it did not say."""

    channel: socket.socket
    listeners: list[socket.socket]
    generation: int
    keys: str | None = None

    def refuse(self, why: str) -> None:
        """Tell the predecessor why this process will not take over."""
        refuse(self.channel, why)


def inheritance(environ: Mapping[str, str]) -> Inheritance | None:
    """What a predecessor has for this process; None when it was started by somebody else.

    Raises:
        CannotStart: the predecessor is gone, or of a version that is not understood here.
    """
    stranger = f"wsctl {__version__} does not understand a handover of wsctl {{release}}"
    found = greeting(environ, VARIABLE, VERSION, nobody="no server that hands over", stranger=stranger)
    if found is None:
        return None
    listeners = [socket.socket(fileno=fd) for fd in found.hello.fds]
    told = found.hello.fields
    return Inheritance(found.channel, listeners, told["generation"], told.get("keys"))
