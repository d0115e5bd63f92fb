"""The renewal of credentials on a connection that is open."""

from wsctl import messages
from wsctl.codes import ErrorCode
from wsctl.hub.connection import Connection
from wsctl.hub.frame import Batch
from wsctl.server.credentials.judge import Denied, Judge
from wsctl.server.credentials.leases import Leases


class Renewals:
    """Takes the frames by which clients renew, and lets no credential through to others.

    Without a `judge` nobody needs credentials: such a frame is a message like any other there, unless it
    has a token in it.
    """

    def __init__(self, judge: Judge | None, leases: Leases) -> None:
        self._judge = judge
        self._leases = leases

    def takes(self, connection: Connection, text: str) -> bool:
        """Tell whether a client's text is such a frame, and answer it if so. When the new credential is
        refused, the one that the client had is good as before."""
        asked = messages.renewal(text)
        if asked is None or not (self._judge or asked.token or '"token"' in text):
            return False
        connection.offer(Batch((self._answer(connection, asked.token),)))
        return True

    def _answer(self, connection: Connection, token: str | None) -> bytes:
        if self._judge is None:
            return _refused("there is nothing to renew: this server asks for no credentials")
        if token is None:
            return _refused('write it as {"type": "renew", "token": "..."}')
        verdict = self._judge.judge(token, connection.client_id)
        if isinstance(verdict, Denied):
            return _refused(verdict.why)
        if verdict.expires is None:
            return _refused("there is nothing to renew: the connection may stay")
        self._leases.grant(connection, verdict.expires)
        return messages.renewed(self._leases.left(verdict.expires))


def _refused(why: str) -> bytes:
    return messages.error(ErrorCode.RENEWAL_REFUSED, why)
