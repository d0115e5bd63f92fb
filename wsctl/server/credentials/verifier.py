"""The interface that verifies credentials of whatever kind, its two verdicts, and the plainest verifier."""

import hmac
from dataclasses import dataclass, field
from typing import Protocol

from wsctl.server.credentials.permissions import Claimed


@dataclass(frozen=True, slots=True)
class Granted:
    """A credential that is good until `expires`, in Unix seconds; None: it does not end. It lets in
    `client_id` alone; None: anybody. `permissions` are what it says of topics; None: nothing."""

    expires: float | None = None
    client_id: str | None = field(default=None, compare=False)
    permissions: Claimed | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """A credential that is not good. `why` is for the client, and tells nothing that it must not know."""

    why: str


def for_client(verdict: Granted | Denied, client_id: str) -> Granted | Denied:
    """Return the verdict on a credential that this client sends."""
    if isinstance(verdict, Granted) and verdict.client_id not in (None, client_id):
        return Denied("the token is for another client id")
    return verdict


@dataclass(frozen=True, slots=True)
class KeySummary:
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


class Verifier(Protocol):
    """Verifies credentials. It changes nothing, and does no I/O."""

    @property
    def keys(self) -> KeySummary | None:
        """The keys that signatures are checked with; None where there are none."""

    def verify(self, token: str) -> Granted | Denied:
        """Decide whether a token is good at all, and for which client."""

    def verify_for(self, token: str, client_id: str) -> Granted | Denied:
        """Decide whether a token lets that client in."""


class SharedToken:
    """The verifier of one token that all clients share: it is good under any id, for as long as it stays."""

    keys = None

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def verify(self, token: str) -> Granted | Denied:
        """Compare the token, in the same time for a nearly right one as for any other of its length."""
        right = hmac.compare_digest(token.encode(errors="replace"), self._token)
        return Granted() if right else Denied("this is not the server's token")

    def verify_for(self, token: str, client_id: str) -> Granted | Denied:
        """Compare the token, which is good for every client alike."""
        return self.verify(token)
