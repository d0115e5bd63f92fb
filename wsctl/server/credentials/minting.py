"""The making of tokens, for those who have the signing key."""

import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import NamedTuple

import jwt

from wsctl.server.credentials.keys import signing_key

MAX_TTL = 366 * 86400.0
"""Seconds that a token may be good: none can be revoked, and a year is long for that."""


class Minted(NamedTuple):
    """A token, and the Unix second in which it ends."""

    token: str
    expires: int


class Mint:
    """Signs with the key in a file, for `audience` if there is one.

    Raises:
        BadKey: there is no signing key in it.
    """

    def __init__(
        self,
        path: Path,
        audience: str | None,
        wall: Callable[[], float] = time.time,
        *,
        algorithm: str | None = None,
    ) -> None:
        self._key = signing_key(path, algorithm)
        self._audience = audience
        self._wall = wall

    def token(self, client_id: str, ttl: float) -> Minted:
        """Return a token for a client id, good for `ttl` seconds from now."""
        now = self._wall()
        expires = ceil(now + ttl)
        claims = {"sub": client_id, "iat": int(now), "exp": expires}
        if self._audience:
            claims["aud"] = self._audience
        headers = {"kid": self._key.kid} if self._key.kid is not None else None
        return Minted(jwt.encode(claims, self._key.material, self._key.algorithm, headers), expires)
