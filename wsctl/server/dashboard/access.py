"""Who may use the dashboard: links that are good once, and sessions, which are good for an hour.

Links and the key of sessions are files in the runtime folder: whoever can read it controls the server anyway,
and so all workers, a successor, and a server that was started again know them.
"""

import hmac
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from wsctl.control.operations import ControlError, DashboardLink
from wsctl.errors import WsctlError
from wsctl.process.registry import check_folder

LINK_TIME = 120.0
"""Seconds for which a link is good: as long as a browser takes to start on a slow machine."""

SESSION_TIME = 3600.0
"""Seconds for which a session is good; the page asks for another one long before."""

MOST_LINKS = 100
"""The links that are good at a time; a further one ends the oldest."""

PREFIX = "dashboard."
"""The beginning of a session, by which it is told from a token."""

_KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class DashboardSession:
    """A session, as the page shows it, and the seconds that it is good for."""

    session: str
    expires_in_s: float


class DashboardAccess:
    """Makes links and sessions, and checks them. `folder` is the runtime folder, None where there is none:
    then there are no links. `token` is the server's, and `wall` the time in Unix seconds."""

    def __init__(self, folder: Path | None, token: str | None, wall: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._token = token
        self._wall = wall
        self._key: bytes | None = None

    def create_link(self) -> DashboardLink:
        """Make a link.

        Raises:
            ControlError: there is no folder to keep it in.
        """
        try:
            folder = self._links()
            self._clear(folder)
            link = secrets.token_urlsafe(_KEY_SIZE)
            path = folder / _digest(link)
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(str(self._wall() + LINK_TIME))
        except (OSError, WsctlError) as error:
            text = f"links to the dashboard need the runtime folder: {error}"
            raise ControlError(HTTPStatus.CONFLICT, "not_now", text) from None
        return DashboardLink(link, LINK_TIME)

    def redeem(self, link: str) -> DashboardSession | None:
        """Return a session for a link, which is good no more; None where it was not good."""
        with suppress(OSError, ValueError, WsctlError):
            path = self._links() / _digest(link)
            expires = float(path.read_text())
            path.unlink()  # who removes it has it
            if self._wall() < expires:
                return self._session("link", self._link_key())
        return None

    def for_token(self) -> DashboardSession | None:
        """Return a session for who has shown the server's token; it ends when that is another one. None where
        the server has no token: the control socket lets everybody pass."""
        if self._token is None:
            return None
        return self._session("token", self._token_key())

    def renew(self, session: str) -> DashboardSession | None:
        """Return another session for one that is good; None where it is not."""
        if self.good_until(session) is None:
            return None
        kind = session.split(".")[1]
        return self._session(kind, self._key_of(kind))

    def good_until(self, session: str) -> float | None:
        """Return when a session ends, in Unix seconds; None where it is not good."""
        parts = session.split(".")
        if len(parts) != 4 or not parts[2].isdecimal() or not session.isascii():
            return None
        _, kind, expires, _ = parts
        with suppress(OSError, KeyError, WsctlError):
            if hmac.compare_digest(session, _signed(kind, expires, self._key_of(kind))):
                return float(expires) if self._wall() < int(expires) else None
        return None

    def _session(self, kind: str, key: bytes) -> DashboardSession:
        expires = str(int(self._wall() + SESSION_TIME))
        return DashboardSession(_signed(kind, expires, key), SESSION_TIME)

    def _key_of(self, kind: str) -> bytes:
        return {"link": self._link_key, "token": self._token_key}[kind]()

    def _token_key(self) -> bytes:
        if self._token is None:
            raise KeyError("this server has no token")
        return self._token.encode()

    def _link_key(self) -> bytes:
        if self._key is None:
            self._key = _read_key(self._links() / "key")
        return self._key

    def _links(self) -> Path:
        """Return the folder of links and the key, which nobody else can read.

        Raises:
            OSError, WsctlError: there is none.
        """
        if self._folder is None:
            raise WsctlError("this server has none")
        check_folder(self._folder)
        links = self._folder / "dashboard"
        links.mkdir(mode=0o700, exist_ok=True)
        return links

    def _clear(self, folder: Path) -> None:
        """Remove the links that were never used, and those that are too many."""
        found = sorted((p for p in folder.iterdir() if len(p.name) == 64), key=lambda p: p.stat().st_mtime)
        now = self._wall()
        for number, path in enumerate(reversed(found), 1):
            if number >= MOST_LINKS or now - path.stat().st_mtime > 2 * LINK_TIME:
                path.unlink(missing_ok=True)


def is_session(credentials: str) -> bool:
    """Tell whether credentials are meant as a session."""
    return credentials.startswith(PREFIX)


def _signed(kind: str, expires: str, key: bytes) -> str:
    text = f"{PREFIX}{kind}.{expires}"
    return f"{text}.{hmac.new(key, text.encode(), sha256).hexdigest()}"


def _digest(link: str) -> str:
    return sha256(link.encode()).hexdigest()


def _read_key(path: Path) -> bytes:
    """Return the key in a file, which the first one to ask for it makes."""
    if not path.exists():
        draft = path.with_name(f"key.{os.getpid()}")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_bytes(_KEY_SIZE))
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_bytes()
