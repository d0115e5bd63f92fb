"""JSON Web Tokens (RFC 7519): each names one client, and ends."""

import time
import unicodedata
from collections.abc import Callable, Sequence
from math import ceil, isfinite
from pathlib import Path
from typing import Any, NamedTuple

import jwt

from wsctl.server.credentials.keys import HS256, TokenKey, signing_key
from wsctl.server.credentials.permissions import CLAIM, NO_CLAIM, BadPermissions, Claimed, read_permissions
from wsctl.server.credentials.verifier import Denied, Granted, KeySummary, for_client

LEEWAY = 10.0
"""Seconds that a token may be from the future: synchronised clocks differ by less, and without it a token
would be refused right after it was made. No leeway is given at its end."""

MAX_TOKEN = 8 * 1024
"""Characters of a token: half of what a request head may have, and four times of what issuers fill."""

MAX_TTL = 366 * 86400.0
"""Seconds that a token may be good: none can be revoked, and a year is long for that."""

_NOT_OURS = "no key of this server has signed the token"


class TokenVerifier:
    """The verifier of signed tokens: it grants clients that have one which was signed with one of `keys`, is
    for them, and for `audience`.

    A token that names an audience is for nobody else, so that where none is set it is refused (RFC 7519
    section 4.1.3). `wall` is in Unix seconds.
    """

    def __init__(self, keys: Sequence[TokenKey], audience: str | None, wall: Callable[[], float]) -> None:
        self._keys = keys
        self._audience = audience
        self._wall = wall
        self._options: Any = {
            "require": ["exp", "sub", *(["aud"] if audience else [])],
            # Checked here, by a clock that is an argument.
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }

    @property
    def keys(self) -> KeySummary:
        algorithms = sorted({key.algorithm for key in self._keys})
        ids = sorted(key.kid for key in self._keys if key.kid is not None)
        return KeySummary(tuple(algorithms), tuple(ids), HS256 in algorithms)

    def verify_for(self, token: str, client_id: str) -> Granted | Denied:
        """Decide whether a token is good now, for that client."""
        return for_client(self.verify(token), client_id)

    def verify(self, token: str) -> Granted | Denied:
        """Decide whether a token is good now. What it says is believed only once its signature was
        checked."""
        if len(token) > MAX_TOKEN:
            return Denied(f"a token has at most {MAX_TOKEN} characters")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            if keys := self._candidates(kid):
                return self._verdict(self._claims(token, keys))
            return Denied(_NOT_OURS if kid else "the token does not say which key has signed it (kid)")
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            return Denied(_why(error))

    def _candidates(self, kid: str | None) -> list[TokenKey]:
        """Return the keys that can have signed a token. With several keys it must name one, so that no client
        makes the server try all."""
        if kid is None or all(key.kid is None for key in self._keys):
            return list(self._keys) if len(self._keys) == 1 else []
        return [key for key in self._keys if key.kid == kid]

    def _claims(self, token: str, keys: Sequence[TokenKey]) -> dict[str, Any]:
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key.material,
                    algorithms=[key.algorithm],
                    audience=self._audience,
                    options=self._options,
                )
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                continue
        raise jwt.InvalidSignatureError

    def _verdict(self, claims: dict[str, Any]) -> Granted | Denied:
        now = self._wall()
        expires = _moment(claims["exp"])
        if expires <= now:
            return Denied("the token has expired")
        if any(_moment(claims[name]) > now + LEEWAY for name in ("nbf", "iat") if name in claims):
            return Denied("the token is not valid yet")
        claim = claims.get(CLAIM)
        permissions = None if claim is None else read_permissions(claim)
        return Granted(expires, unicodedata.normalize("NFC", claims["sub"]), permissions)


def _why(error: Exception) -> str:
    match error:
        case BadPermissions():
            return f"the token is malformed: {error}"
        case jwt.InvalidAudienceError():
            return "the token is for another audience"
        case jwt.MissingRequiredClaimError():
            return f"the token has no {error.claim}"
        case jwt.InvalidSignatureError() | jwt.InvalidAlgorithmError():
            return _NOT_OURS
    return "this is no valid JSON Web Token"


def _moment(claim: Any) -> float:
    """Return a claim as Unix seconds.

    Raises:
        ValueError: the claim is no NumericDate (RFC 7519 section 2).
        OverflowError: it is a number too large for any date.
    """
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not isfinite(moment := float(claim)):
        raise ValueError("no moment")
    return moment


class SignedToken(NamedTuple):
    """A token that was made, and the Unix second in which it ends."""

    token: str
    expires: int


class TokenSigner:
    """Signs tokens with the key in a file, for `audience` if there is one.

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

    def sign(self, client_id: str, ttl: float, may: Claimed = NO_CLAIM) -> SignedToken:
        """Return a token for a client id, good for `ttl` seconds from now, with what the client `may` do."""
        now = self._wall()
        expires = ceil(now + ttl)
        claims: dict[str, Any] = {"sub": client_id, "iat": int(now), "exp": expires}
        if may != NO_CLAIM:
            claims[CLAIM] = may.claim()
        if self._audience:
            claims["aud"] = self._audience
        headers = {"kid": self._key.kid} if self._key.kid is not None else None
        return SignedToken(jwt.encode(claims, self._key.material, self._key.algorithm, headers), expires)
