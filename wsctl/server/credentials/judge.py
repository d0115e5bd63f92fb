"""The one question about a credential, whatever kind it is, and its two answers."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Granted:
    """It is good until `expires`, in Unix seconds; None: it does not end. It lets in `client_id` alone; None:
    anybody."""

    expires: float | None = None
    client_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Denied:
    """It is not. `why` is for the client, and says nothing of what it must not know."""

    why: str


def meant_for(verdict: Granted | Denied, client_id: str) -> Granted | Denied:
    """The verdict on a credential that this client shows."""
    if isinstance(verdict, Granted) and verdict.client_id not in (None, client_id):
        return Denied("the token is for another client id")
    return verdict


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

    def check(self, token: str) -> Granted | Denied:
        """Whether this is good at all, and for whom."""

    def judge(self, token: str, client_id: str) -> Granted | Denied:
        """Whether this lets that client in."""
