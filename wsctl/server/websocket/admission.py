"""The decision whether a client may connect, the same for every way a handshake can arrive."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from wsctl import client_ids, messages
from wsctl.codes import ErrorCode
from wsctl.origins import AllowedOrigins
from wsctl.server.credentials.extraction import HOW_TO_SEND, TokenSources, UnreadableToken, extract_token
from wsctl.server.credentials.permissions import Claimed, permissions_of
from wsctl.server.credentials.verifier import Denied, Granted, Verifier, for_client
from wsctl.server.http.host_header import unknown_host
from wsctl.server.http.semantics import HttpRefusal
from wsctl.settings import Settings
from wsctl.topics import MAX_LENGTH, InvalidTopic, topic_pattern

RETRY_AFTER = 5
"""Seconds a client is asked to wait when the server is full."""

MOST_REPLACED = 16
"""The most connections beyond the capacity that are still closing because their clients came back to a full
server: half of the descriptors that are left to operators."""

MAX_SINCE = 64
"""The most characters of a message id in `since`: ids are shorter."""

FOREIGN_ID = "-"
"""What stands for the id of a message that no server of ours can have given: nobody has it."""

INVALID_CREDENTIALS = ' error="invalid_token"'
"""The parameter that a challenge has when the request had a token (RFC 6750 section 3.1)."""

_KEEPALIVES = frozenset(map(str, messages.KEEPALIVE))
_BAD_KEEPALIVE = (
    f"keepalive is 0 or a whole number of seconds from {messages.KEEPALIVE[0]} to {messages.KEEPALIVE[-1]}"
)

_DEFAULT_PORT = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


class HandshakeRequest(NamedTuple):
    """A client's request to connect: `name` is the raw last part of the path, header values are text.
    `foreign_host` is true if this server does not take the host that it names. `last_event_id` is what the
    client of an event stream says of the last message that it has seen, whoever gave the id."""

    name: str
    query: str
    origin: str | None
    host: str
    authorization: str | None = None
    protocols: str | None = None
    foreign_host: bool = False
    last_event_id: str = ""


class Admitted(NamedTuple):
    """The verdict that lets a client in. `since` is the id of the last message that it has seen, `expires`
    the Unix second in which its credentials end, if they do; `keepalive` is the number of seconds after which
    it wants a sign of life, 0 for none. `in_place` is true if there is room only in place of its older
    connection. `topics` are the patterns that it subscribes to, `permissions` what its credentials say of
    topics."""

    client_id: str
    since: str | None
    expires: float | None = None
    keepalive: int = 0
    in_place: bool = False
    topics: tuple[str, ...] = ()
    permissions: Claimed | None = None


class DrainRejected(NamedTuple):
    """The verdict on a valid handshake while the server drains: accept it, then close with 1001."""

    client_id: str


Verdict = Admitted | DrainRejected | HttpRefusal


NO_SUCH_PATH = HttpRefusal(HTTPStatus.NOT_FOUND, "not_found", "WebSockets are served at /ws/{client_id}")
"""The answer to a handshake at any path but that of clients."""

OPEN_GRANT = Granted()
"""The grant that everybody has where no credentials are asked for."""


class Admission:
    """Decides about handshakes from the settings and three facts: how many clients are connected, whether one
    with an id replaces an older one, and whether new ones are accepted. A `verifier` checks the credentials;
    without one none are needed."""

    def __init__(
        self,
        settings: Settings,
        capacity: int,
        connected: Callable[[], int],
        accepting: Callable[[], bool],
        verifier: Verifier | None = None,
        *,
        replaces_older: Callable[[str], bool] = lambda client_id: False,
    ) -> None:
        self._replaces_older = replaces_older
        self._verifier = verifier
        self._in_query = settings.auth_query
        self._permissions = permissions_of(settings)
        self._max_subscriptions = settings.max_subscriptions
        self._origins = AllowedOrigins(settings.allow_origin)
        self._capacity = capacity
        self._connected = connected
        self._accepting = accepting

    def admit(self, asked: HandshakeRequest) -> Verdict:
        """Return the verdict on a handshake, and change nothing. What is cheap to check comes first, and the
        client id last, after the credentials: to bring it into its normal form takes longer."""
        try:
            name = client_ids.bounded_id(unquote(asked.name, errors="strict"))
        except ValueError as error:
            return _bad_id(error)
        since, keepalive, topics = _options(asked.query) if asked.query else (None, "0", ())
        if since is not None and not is_message_id(since):
            return _bad_request("bad_since", "since is not the id of a message")
        if keepalive != "0" and keepalive not in _KEEPALIVES:
            return _bad_request("bad_keepalive", _BAD_KEEPALIVE)
        if topics and (bad := self._refuse_topics(topics)):
            return bad
        if wrong := self._refuse_source(asked):
            return wrong
        if asked.last_event_id:
            since = asked.last_event_id if is_message_id(asked.last_event_id) else FOREIGN_ID
        granted = self._grant(asked)
        wanted = Admitted(name, since, None, int(keepalive), topics=topics)
        found = granted if isinstance(granted, HttpRefusal) else self._identify(wanted, granted)
        return found if isinstance(found, HttpRefusal) else self.place(found)

    def identify(self, asked: HandshakeRequest) -> Admitted | HttpRefusal:
        """Return the verdict on a request of a client that does not connect, but only publishes: without a
        `name` it is the client that its credentials name."""
        if wrong := self._refuse_source(asked):
            return wrong
        granted = self._grant(asked)
        if isinstance(granted, HttpRefusal):
            return granted
        try:
            name = client_ids.bounded_id(unquote(asked.name, errors="strict")) if asked.name else None
        except ValueError as error:
            return _bad_id(error)
        name = name or granted.client_id
        if name is None:
            return _bad_request("bad_client_id", "say which client publishes: ?id=NAME")
        return self._identify(Admitted(name, None), granted)

    def _grant(self, asked: HandshakeRequest) -> Granted | HttpRefusal:
        return self._verify(self._verifier, asked) if self._verifier else OPEN_GRANT

    def _identify(self, asked: Admitted, granted: Granted) -> Admitted | HttpRefusal:
        """Return the verdict on a valid request whose credentials are good, and whose client id is as it
        came, as far as it does not depend on who is here."""
        try:
            client_id = client_ids.client_id(asked.client_id)
        except ValueError as error:
            return _bad_id(error)
        verdict = for_client(granted, client_id)
        if isinstance(verdict, Denied):
            return _unauthorized(verdict.why, INVALID_CREDENTIALS)
        if asked.topics and (refused := self._refuse_subscriptions(asked.topics, granted.permissions)):
            return refused
        if granted is OPEN_GRANT and client_id == asked.client_id:
            return asked
        return asked._replace(client_id=client_id, expires=granted.expires, permissions=granted.permissions)

    def _refuse_topics(self, topics: Sequence[str]) -> HttpRefusal | None:
        """Return the refusal of patterns that are none, or are too many; None for all others."""
        if self._max_subscriptions and len(topics) > self._max_subscriptions:
            return _bad_request(ErrorCode.TOO_MANY_SUBSCRIPTIONS, too_many(self._max_subscriptions))
        try:
            for topic in topics:
                topic_pattern(topic)
        except InvalidTopic as error:
            return _bad_request(ErrorCode.BAD_TOPIC, f"{topic[:MAX_LENGTH]!r}: {error}")
        return None

    def _refuse_subscriptions(self, topics: Sequence[str], claimed: Claimed | None) -> HttpRefusal | None:
        """Return the refusal of a client that may not subscribe to one of these patterns; None if it may."""
        may = self._permissions if claimed is None else claimed.over(self._permissions)
        refused = next((topic for topic in topics if not may.may_subscribe(topic)), None)
        if refused is None:
            return None
        text = may_not_subscribe(refused)
        return HttpRefusal(HTTPStatus.FORBIDDEN, ErrorCode.TOPIC_NOT_ALLOWED, text)

    def place(self, admitted: Admitted) -> Verdict:
        """Return the verdict on a client that may connect, as far as it depends on who is here: there may be
        no room for it, or the server may drain."""
        client_id = admitted.client_id
        if not self._accepting():
            return DrainRejected(client_id)
        over = self._connected() - self._capacity if self._capacity else -1
        if over >= 0 and (over >= MOST_REPLACED or not self._replaces_older(client_id)):
            return server_full()
        in_place = over >= 0
        return admitted if admitted.in_place is in_place else admitted._replace(in_place=in_place)

    def _verify(self, verifier: Verifier, asked: HandshakeRequest) -> Granted | HttpRefusal:
        sources = TokenSources(asked.authorization, asked.protocols, asked.query)
        try:
            token = extract_token(sources, in_query=self._in_query)
        except UnreadableToken as error:
            return _unauthorized(str(error), INVALID_CREDENTIALS)
        if token is None:
            return _unauthorized(f"this server asks for a token: {HOW_TO_SEND}")
        verdict = verifier.verify(token)
        return _unauthorized(verdict.why, INVALID_CREDENTIALS) if isinstance(verdict, Denied) else verdict

    def _refuse_source(self, asked: HandshakeRequest) -> HttpRefusal | None:
        """Return the refusal of a request that names a foreign host, or comes from the page of an origin that
        may not connect; None for all others."""
        if asked.foreign_host:
            return unknown_host(asked.host)
        if self.allows_origin(asked):
            return None
        text = f"origin {asked.origin} may not connect here: the server allows it with --allow-origin"
        return HttpRefusal(HTTPStatus.FORBIDDEN, "origin_not_allowed", text)

    def allows_origin(self, asked: HandshakeRequest) -> bool:
        """Tell whether a request has no Origin or one that may connect: browsers send it and programs do not.
        The same host is the same origin whatever the scheme, because a proxy in front may have ended TLS."""
        if asked.origin is None:
            return True
        origin = asked.origin.strip().lower()
        if origin in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        default = _DEFAULT_PORT.get(parts.scheme, "")
        host = asked.host.strip().lower()
        return bool(parts.netloc) and parts.netloc.removesuffix(default) == host.removesuffix(default)


def server_full() -> HttpRefusal:
    """Return the answer when there is no room."""
    text = f"the server has all the clients it can take: try again in {RETRY_AFTER} seconds"
    return HttpRefusal(HTTPStatus.SERVICE_UNAVAILABLE, "full", text, (("retry-after", str(RETRY_AFTER)),))


def _unauthorized(why: str, problem: str = "") -> HttpRefusal:
    """Return the answer to credentials that are missing or no good (RFC 6750 section 3)."""
    challenge = (("www-authenticate", f"Bearer{problem}"),)
    return HttpRefusal(HTTPStatus.UNAUTHORIZED, "bad_credentials", why, challenge)


def _bad_id(error: ValueError) -> HttpRefusal:
    text = str(error) if isinstance(error, client_ids.InvalidClientId) else "a client id is UTF-8 text"
    return _bad_request("bad_client_id", text)


def _bad_request(code: str, text: str) -> HttpRefusal:
    return HttpRefusal(HTTPStatus.BAD_REQUEST, code, text)


def _options(query: str) -> tuple[str | None, str, tuple[str, ...]]:
    """Return the last `since` and `keepalive` of a query, and each `topic` once."""
    found = parse_qs(query, keep_blank_values=True)
    topics = tuple(dict.fromkeys(found["topic"])) if "topic" in found else ()
    return found.get("since", [None])[-1], found.get("keepalive", ["0"])[-1], topics


def may_not_subscribe(pattern: str) -> str:
    """Return the text for a client that asks for a pattern which it may not have."""
    return f"you may not subscribe to {pattern}: --client-subscribe allows it, or a token"


def too_many(most: int) -> str:
    """Return the text for a client that would have more subscriptions than it may."""
    return f"a client has at most {most} subscriptions: --max-subscriptions allows more"


def is_message_id(since: str) -> bool:
    """Tell whether a text can be the id of a message, of this server or of another one."""
    return 0 < len(since) <= MAX_SINCE and since.isascii() and since.replace("-", "").isalnum()
