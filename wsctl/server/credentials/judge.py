"""The interface that checks credentials of whatever kind, and its two verdicts."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Granted:
    """A credential that is good until `expires`, in Unix seconds; None: it does not end. It lets in
    `client_id` alone; None: anybody."""

    expires: float | None = None
    client_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Denied:
    """A credential that is not good. `why` is for the client, and tells nothing that it must not know."""

    why: str


def meant_for(verdict: Granted | Denied, client_id: str) -> Granted | Denied:
    """Return the verdict on a credential that this client sends."""
    if isinstance(verdict, Granted) and verdict.client_id not in (None, client_id):
        return Denied("the token is for another client id")
    return verdict


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that signatures are checked with, as people and a successor process may know them: nothing of
    it is secret. Key ids are those that the file names."""

    algorithms: tuple[str, ...]
    ids: tuple[str, ...]
    secret: bool

    @property
    def kind(self) -> str:
        """The kind of the keys: a server that was started with one kind takes no other one until it is
        restarted."""
        return "a shared secret" if self.secret else "public keys"


class Judge(Protocol):
    """Checks credentials. It changes nothing, and does no I/O."""

    @property
    def keys(self) -> Keys | None:
        """The keys that signatures are checked with; None where there are none."""

    def check(self, token: str) -> Granted | Denied:
        """Check whether a token is good at all, and for which client."""

    def judge(self, token: str, client_id: str) -> Granted | Denied:
        """Check whether a token lets that client in."""
