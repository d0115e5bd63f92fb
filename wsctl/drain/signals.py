"""The signals of a server: what each asks of which process, and who passes it on.

    signal            a server, a worker     the parent of workers       embedded in a host, which is
                                                                         another ASGI server
    SIGTERM, SIGINT   drain                  all workers drain           drain, then the host's own handler
    SIGHUP            the same, but not      the same                    the same, where it would kill
                      where it is ignored:
                      nohup asks for that
    SIGUSR1           status to the log      status of all to the log    left to the host
    SIGUSR2           handover               each worker's handover      left to the host
    SIGTSTP (Ctrl-Z)  left as it is          stop all workers too        left to the host
    SIGCHLD           left as it is          see which worker has ended  left to the host

SIGINT again, `FORCE_AFTER` seconds after the first of the signals that end, means force: close all clients
now. Any other repetition means nothing new.

Who passes signals on:

- A terminal sends Ctrl-C to all processes of the group in front. Workers are in groups of their own, so that
  it reaches their parent alone, which tells them in packets: each of the first signal, and of a force.
- A successor stays in the group of the shell's job. What it is given by the process that it has taken over
  from is in `PASSED_TO_SUCCESSOR`.
- The process in that job that has no more work passes everything on (`process/waiter.py`).
- The end of a process stands for a signal to those it left: `WAITER_GONE`, `PARENT_GONE`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from signal import SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, Signals
from types import MappingProxyType

FORCE_AFTER = 1.0
"""Seconds after the first signal from which SIGINT means force. A person needs longer to decide, and to see
what the first one did."""

SAME_KEY = 0.1
"""The time within which one Ctrl-C arrives several times, in seconds, where more than one process passes it
on; nobody presses it twice so fast."""


class SignalAction(Enum):
    """The action that a signal asks for."""

    END = auto()
    """Drain, or force: see `SignalReader`."""
    LOG_STATUS = auto()
    HAND_OVER = auto()
    SUSPEND = auto()
    """Stop, with all other processes of the server, until SIGCONT."""
    REAP = auto()
    """Look which child processes have ended."""


class SignalRole(Enum):
    """The part of a process that decides what signals mean to it."""

    SERVER = auto()
    """A server, or one of several workers."""
    PARENT = auto()
    EMBEDDED = auto()


class Disposition(Enum):
    """The effect of a signal on a process before it is handled here."""

    DEFAULT = auto()
    IGNORED = auto()
    HANDLED = auto()
    """A handler of Python's is called."""
    FOREIGN = auto()
    """A handler of other code is called."""


@dataclass(frozen=True, slots=True)
class SignalRule:
    """The action of one signal, and the dispositions that it takes the place of."""

    action: SignalAction
    replaces: frozenset[Disposition] = frozenset(Disposition)


_NOT_IGNORED = frozenset(Disposition) - {Disposition.IGNORED}
_DEFAULT = frozenset({Disposition.DEFAULT})
_OF_HOST = SignalRule(SignalAction.END, frozenset({Disposition.HANDLED}))

_SERVER = {
    SIGINT: SignalRule(SignalAction.END),
    SIGTERM: SignalRule(SignalAction.END),
    SIGHUP: SignalRule(SignalAction.END, _NOT_IGNORED),
    SIGUSR1: SignalRule(SignalAction.LOG_STATUS),
    SIGUSR2: SignalRule(SignalAction.HAND_OVER),
}

POLICY: Mapping[SignalRole, Mapping[Signals, SignalRule]] = MappingProxyType(
    {
        SignalRole.SERVER: _SERVER,
        SignalRole.PARENT: {
            **_SERVER,
            SIGCHLD: SignalRule(SignalAction.REAP),
            SIGTSTP: SignalRule(SignalAction.SUSPEND, _DEFAULT),
        },
        SignalRole.EMBEDDED: {
            SIGINT: _OF_HOST,
            SIGTERM: _OF_HOST,
            SIGHUP: SignalRule(SignalAction.END, _DEFAULT),
        },
    }
)
"""The table above."""

PASSED_TO_SUCCESSOR: Mapping[int, Signals] = MappingProxyType(
    {SIGINT: SIGTERM, SIGTERM: SIGTERM, SIGHUP: SIGTERM, SIGUSR1: SIGUSR1, SIGUSR2: SIGUSR2}
)
"""The signals that a process in a shell's job passes on to the successor it has handed over to, and as what.
A terminal has sent Ctrl-C to both at once: twice SIGTERM changes nothing, twice SIGINT may."""


WAITER_GONE = SIGHUP
"""The signal that a server takes the end of the process for that its shell waits for: whoever ends that one
means the server."""

PARENT_GONE = SIGTERM
"""The signal that a worker takes the end of its parent for."""

ORPHANED = "the parent is gone"
"""The reason that is told of a drain that the end of a parent began: nobody has sent that signal."""


def handled_signals(
    role: SignalRole, disposition: Callable[[Signals], Disposition]
) -> dict[Signals, SignalAction]:
    """Return the signals that a process handles, with their actions; `disposition` returns what one of them
    does so far. A host that handles none of those that end is left alone."""
    rules = POLICY[role]
    found = {signum: disposition(signum) for signum in rules}
    if role is SignalRole.EMBEDDED and Disposition.HANDLED not in (found[SIGINT], found[SIGTERM]):
        return {}
    return {signum: rule.action for signum, rule in rules.items() if found[signum] in rule.replaces}


class SignalMeaning(Enum):
    """The meaning of a signal that ends a server."""

    BEGIN = auto()
    """Begin the drain."""
    TOO_SOON = auto()
    """Force, but before anybody could have seen what the first one did."""
    FORCE = auto()
    """End all connections now."""
    NOTHING = auto()
    """Nothing new: this was asked for already."""


class SignalReader:
    """Reads the signals that end one server."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last_key = float("-inf")

    def read(self, signum: int, now: float) -> SignalMeaning:
        repeated = signum == SIGINT and now - self._last_key < SAME_KEY
        if signum == SIGINT:
            self._last_key = now
        if self._first is None:
            self._first = now
            return SignalMeaning.BEGIN
        if signum != SIGINT or repeated:
            return SignalMeaning.NOTHING
        return SignalMeaning.FORCE if now - self._first >= FORCE_AFTER else SignalMeaning.TOO_SOON
