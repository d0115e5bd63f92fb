"""The one token that all clients share."""

import hmac

from wsctl.server.credentials.judge import Denied, Granted


class SharedToken:
    """Grants every client that has the token, under any id, for as long as it stays."""

    keys = None

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def judge(self, token: str, client_id: str) -> Granted | Denied:
        """Check the token, which is good for every client alike."""
        return self.check(token)

    def check(self, token: str) -> Granted | Denied:
        """Check the token, in the same time for a nearly right one as for any other of its length."""
        right = hmac.compare_digest(token.encode(errors="replace"), self._token)
        return Granted() if right else Denied("this is not the server's token")
