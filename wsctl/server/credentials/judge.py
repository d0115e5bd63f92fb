"""The one question about a credential, whatever kind it is, and its two answers."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Granted:
    """It is good until `expires`, in Unix seconds; None: it does not end."""

    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """It is not. `why` is for the client, and says nothing of what it must not know."""

    why: str


@dataclass(frozen=True, slots=True)
class Keys:
    """What signatures are checked with, for people and for a process that succeeds: nothing of it is secret.
    Key ids are those that the file names."""

    algorithms: tuple[str, ...]
    ids: tuple[str, ...]
    secret: bool

    @property
    def kind(self) -> str:
        """A server that was started with one kind takes no other one until it is started anew."""
        return "a shared secret" if self.secret else "public keys"


class Judge(Protocol):
    """Knows what is good. It changes nothing, and does no I/O."""

    @property
    def keys(self) -> Keys | None:
        """What it checks signatures with; None where there are none."""

    def judge(self, token: str, client_id: str) -> Granted | Denied:
        """Whether this lets that client in."""
