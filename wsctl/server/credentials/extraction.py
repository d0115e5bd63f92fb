"""The places of a handshake in which a credential is sent: a header, or two others for clients that can send
none."""

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote_plus

PROTOCOL = "wsctl"
"""The subprotocol of the endpoint. A browser that offers any wants one of them chosen, and no credential is
ever sent back to it."""

COMMANDS = "wsctl.2"
"""The subprotocol of clients that speak commands."""

_IN_PROTOCOL = "bearer."
_IN_QUERY = "access_token="
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")

HOW_TO_SEND = (
    "send Authorization: Bearer TOKEN, or from a browser the subprotocols "
    f"{PROTOCOL} and {_IN_PROTOCOL}BASE64URL-OF-TOKEN"
)
"""The advice for a client that sent no credential."""


class UnreadableToken(ValueError):
    """The error raised for a credential that cannot be taken. The text says why, without the credential."""


@dataclass(frozen=True, slots=True)
class TokenSources:
    """The places of a handshake where a credential can be, as text. Headers that came several times are
    joined."""

    authorization: str | None
    protocols: str | None
    query: str


def extract_token(sources: TokenSources, *, in_query: bool) -> str | None:
    """Return the credential; None when there is none. A header goes before a subprotocol, and both before the
    URL (RFC 6750 section 2), from which one is taken only with `in_query`.

    Raises:
        UnreadableToken: the credential is damaged, or in the URL and not to be there.
    """
    found = _in_header(sources.authorization) if sources.authorization else None
    if found is None and sources.protocols:
        found = _in_protocols(sources.protocols)
    if found is None and sources.query:
        found = _in_query(sources.query)
        if found is not None and not in_query:
            text = "this server takes no token from an address, where logs keep it"
            raise UnreadableToken(f"{text}: {HOW_TO_SEND}")
    return found


def chosen_subprotocol(protocols: str | None) -> str | None:
    """Return the subprotocol to answer with, of those that were offered: commands before plain texts."""
    if not protocols:
        return None
    offers = _offers(protocols)
    return next((protocol for protocol in (COMMANDS, PROTOCOL) if protocol in offers), None)


def offered_subprotocols(protocols: str | None) -> tuple[str, ...]:
    """Return the subprotocols that were offered, with those in which a credential is."""
    return tuple(offer for offer in _offers(protocols) if offer) if protocols else ()


def _offers(protocols: str) -> list[str]:
    return [offer.strip(" \t") for offer in protocols.split(",")]


def _in_header(authorization: str) -> str | None:
    """Return the token of a Bearer header; a header of another scheme is between the client and a proxy."""
    scheme, _, token = authorization.strip(" \t").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def _in_protocols(protocols: str) -> str | None:
    for offer in _offers(protocols):
        if offer.startswith(_IN_PROTOCOL):
            return _decoded(offer.removeprefix(_IN_PROTOCOL))
    return None


def _decoded(text: str) -> str:
    """Decode base64url without padding (RFC 7515 section 2): `=` and `/` may not stand in a subprotocol."""
    try:
        if _BASE64URL.fullmatch(text):
            return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        pass  # of bits too many, or not of text
    raise UnreadableToken(f"the subprotocol {_IN_PROTOCOL}... is no base64url of a token")


def _in_query(query: str) -> str | None:
    """Return the token of the query. Its name is not percent-decoded: the filter that keeps tokens out of
    logs must find it."""
    for field in query.split("&"):
        if field.startswith(_IN_QUERY):
            return unquote_plus(field.removeprefix(_IN_QUERY))
    return None
