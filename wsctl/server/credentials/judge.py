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


class Judge(Protocol):
    """Knows what is good. It changes nothing, and does no I/O."""

    def judge(self, token: str, client_id: str) -> Granted | Denied:
        """Whether this lets that client in."""
