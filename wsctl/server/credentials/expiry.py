"""The expiry of the credentials of this process's clients, and its renewal on a connection that is open."""

import time
from collections.abc import Callable

from wsctl import messages
from wsctl.codes import CloseCode, ErrorCode
from wsctl.frame import Batch
from wsctl.hub.connection import Connection, EndReason
from wsctl.server.credentials.permissions import PermissionTable
from wsctl.server.credentials.verifier import Denied, Verifier

REASON = "the credentials have expired: connect with new ones"


class ExpiryTimes:
    """The moments at which connections must end, in Unix seconds. A connection without an end costs nothing
    here, and none has a timer."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._expires: dict[Connection, float] = {}
        self._wall = wall

    def __len__(self) -> int:
        return len(self._expires)

    def set(self, connection: Connection, expires: float | None) -> None:
        """Let a connection stay until `expires`, in Unix seconds; None: for ever."""
        if expires is not None:
            self._expires[connection] = expires

    def of(self, connection: Connection) -> float | None:
        """Return when a connection must end, in Unix seconds; None: never."""
        return self._expires.get(connection)

    def seconds_until(self, expires: float) -> float:
        """Return the seconds until a moment; 0 once it has passed."""
        return max(0.0, expires - self._wall())

    def close_expired(self, now: float) -> None:
        """Close the connections whose time is over, and drop those that have ended; called once a second."""
        wall = self._wall()
        over = [c for c, expires in self._expires.items() if expires <= wall or c.end_reason is not None]
        for connection in over:
            del self._expires[connection]
            if connection.end_reason is None:
                connection.close(CloseCode.CREDENTIALS_EXPIRED, REASON, EndReason.EVICTED)


class RenewalRefused(Exception):
    """The error raised for credentials that are not taken; the text says why."""


class RenewalHandler:
    """Renews the credentials of clients, answers the frames by which plain ones ask for it, and lets no
    credential through to others. `renewed` is called with each connection that has new credentials, behind
    the answer.

    Without a `verifier` nobody needs credentials: such a frame is a message like any other there, unless it
    has a token in it.
    """

    def __init__(
        self,
        verifier: Verifier | None,
        expiry: ExpiryTimes,
        permissions: PermissionTable | None = None,
        renewed: Callable[[Connection], None] = lambda connection: None,
    ) -> None:
        self._verifier = verifier
        self._expiry = expiry
        self._permissions = PermissionTable() if permissions is None else permissions
        self._renewed = renewed

    def handle(self, connection: Connection, text: str) -> bool:
        """Tell whether a client's text is such a frame, and answer it if so. When the new credential is
        refused, the one that the client had is good as before."""
        asked = messages.renewal(text)
        if asked is None or not (self._verifier or asked.token or '"token"' in text):
            return False
        try:
            answer = messages.renewed(self.renew(connection, asked.token))
        except RenewalRefused as error:
            connection.offer(Batch((messages.error(ErrorCode.RENEWAL_REFUSED, str(error)),)))
            return True
        connection.offer(Batch((answer,)))
        self._renewed(connection)
        return True

    def renew(self, connection: Connection, token: str | None) -> float:
        """Let a connection have new credentials; return the seconds for which they are good.

        Raises:
            RenewalRefused: they are not taken; those that the client had are good as before.
        """
        if self._verifier is None:
            raise RenewalRefused("there is nothing to renew: this server asks for no credentials")
        if token is None:
            raise RenewalRefused('write it as {"type": "renew", "token": "..."}')
        verdict = self._verifier.verify_for(token, connection.client_id)
        if isinstance(verdict, Denied):
            raise RenewalRefused(verdict.why)
        if verdict.expires is None:
            raise RenewalRefused("there is nothing to renew: the connection may stay")
        self._expiry.set(connection, verdict.expires)
        self._permissions.set(connection, verdict.permissions)
        return self._expiry.seconds_until(verdict.expires)
