"""The control API of a server, over its control socket or its URL and a token."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from wsctl.client.events import DEGRADED, UNCONFIRMED
from wsctl.client.target import Target, check_not_stopped
from wsctl.control.disconnecting import Disconnect
from wsctl.control.encoding import decode
from wsctl.control.operations import (
    BROADCAST,
    CANCEL_DRAIN,
    DASHBOARD_LINK,
    DISCONNECT,
    DRAIN,
    JSON,
    NDJSON,
    NOT_CONNECTED,
    PUBLISH,
    STATUS,
    TOPICS,
    TOPICS_LISTED,
    UPGRADE,
    WAIT_DRAINED,
    WAIT_UPGRADED,
    Operation,
    topics_target,
)
from wsctl.control.status import ServerStatus, TopicList
from wsctl.drain.progress import DrainProgress, HandoverProgress
from wsctl.errors import HungUp, Refused, Silent, Unreachable, UsageError, WsctlError

CONNECT_TIMEOUT = 5.0
"""Seconds for a connection: one lost SYN and its repetition, with room for a long way."""

ANSWER_TIMEOUT = 10.0
"""Seconds between two signs of an answer: as long as servers have for a request head."""

SLOW = 2.0
"""Seconds after which it is said that there is no answer yet: twice what a server takes that asks others, a
Redis or workers, before it answers."""

MAX_QUOTED = 300
"""Characters of a server's own words that are repeated in one line."""

Answer = dict[str, Any]

_STATUS = frozenset(
    {"status", "connections", "closing", "uptime_s", "version", "pid"}
    | {"capacity", "newest_id", "messages", "rates", "drain"}
)

_CONNECT_ERRORS: tuple[tuple[type[Exception], type[Unreachable], str], ...] = (
    (
        TimeoutError,
        Unreachable,
        "{name} did not answer in time: is it the right address, and does the server run?",
    ),
    (
        ssl.SSLCertVerificationError,
        Unreachable,
        "the certificate of {name} is not trusted ({why}): SSL_CERT_FILE names others to trust",
    ),
    (ssl.SSLError, Unreachable, "no TLS with {name} ({why}): is it http:// instead?"),
    (
        ConnectionRefusedError,
        Unreachable,
        "nothing listens at {name}: start a server with 'wsctl serve'",
    ),
    (
        ConnectionError,
        HungUp,
        "{name} hung up without an answer: did it just end, or does it want https://?",
    ),
    (socket.gaierror, Unreachable, "the host of {name} is not known: correct --url"),
    (http.client.IncompleteRead, HungUp, "{name} hung up amid its answer: did it just end?"),
    (http.client.HTTPException, Unreachable, "{name} does not speak HTTP: correct --url"),
    (OSError, Unreachable, "cannot reach {name}: {why}"),
)
"""What is raised for an error of a connection, and its text for people; the first that fits is taken."""


class ConflictError(WsctlError):
    """A request that cannot be done in the server's phase."""


class UnconfirmedError(WsctlError):
    """A message of which the server does not know whether it was published."""


class DegradedError(WsctlError):
    """A request that the server cannot do for now, as it is without what it shares messages through: later it
    can be done."""


class ClosingError(Refused):
    """A request to publish that came when the server closed its clients: its successor can do it."""


CLOSING = "closing"
"""The code of the answer of a server that closes its clients."""

PUBLISH_ONLY = "publish_only"
"""The code of the answer to a token of publishers where another one is wanted."""

HOST_NOT_ALLOWED = "host_not_allowed"
"""The code of the answer to a name that a server on loopback does not take."""

_STATUS_ERRORS: dict[int, tuple[type[WsctlError], str]] = {
    400: (UsageError, "{text}"),
    401: (Refused, "{name} {text}"),
    403: (
        Refused,
        "{name} has no token: start it with WSCTL_TOKEN_FILE or WSCTL_TOKEN, without which it takes commands "
        "only on its own machine without --url, and under plain uvicorn not at all",
    ),
    409: (ConflictError, "{text}"),
    413: (UsageError, "{text}"),
    503: (Refused, "{name} refuses: {text}"),
}

_NO_DISCONNECT = "disconnects nobody: it is of a release before that"
_NO_TOPICS = "knows no topics: it is of a release before them"
_NO_DASHBOARD = "has no dashboard: it is of a release before it"
_NO_BATCHES = "takes no lines: it is of a release before them"
_UNKNOWN_FIELD = "topic: Extra inputs"
"""The words of pydantic for a field that a server does not know."""

_NO_CREDENTIAL = "wants its token: set WSCTL_TOKEN_FILE or WSCTL_TOKEN"
_WRONG_CREDENTIAL = "has another token than WSCTL_TOKEN or WSCTL_TOKEN_FILE gives: correct it"


class Control:
    """The control API of one server; every call is a request on a connection of its own. `waiting` is called,
    from another thread, with a text for people when the answer to one takes long.

    Raises, from every call:
        Silent: the server is stopped, and was asked nothing, or hangs.
        Unreachable: nobody answers there, or somebody who is no wsctl server.
        Refused: the token is missing or wrong, or the server is closing its clients.
        DegradedError: the server cannot publish for now.
        UnconfirmedError: the message may have been published, or may still be.
        ConflictError: the request cannot be done in the server's phase.
        UsageError: the server cannot take what was sent.
    """

    def __init__(
        self,
        target: Target,
        patience: float = ANSWER_TIMEOUT,
        waiting: Callable[[str], object] | None = None,
    ) -> None:
        self.name = target.name
        self.process = target.process
        self._target = target
        self._patience = patience
        self._waiting = waiting

    def status(self, clients: bool = False) -> Answer:
        """Return what the server tells operators; with `clients` it lists them too, oldest first."""
        return self._ask(STATUS, _STATUS, "?clients=true" if clients else "")

    def topics(self, limit: int = TOPICS_LISTED) -> Answer:
        """Return the first `topics` in the order of their names, and whether there are `more`.

        Raises:
            WsctlError: the server is of a release before topics.
        """
        query = topics_target(limit).removeprefix(TOPICS.path)
        return self._ask(TOPICS, {"topics", "more"}, query, absent=_NO_TOPICS)

    def broadcast(
        self,
        data: object,
        to: Sequence[str] | None = None,
        *,
        show_to: bool = False,
        topic: str | None = None,
    ) -> Answer:
        """Publish any JSON value to everyone, to the subscribers of a topic, or to some ids. The answer has
        its `id`, and how many `recipients`."""
        body = {"data": data} if to is None else {"data": data, "to": list(to)}
        body |= {"show_to": True} if show_to else {}
        body |= {} if topic is None else {"topic": topic}
        try:
            return self._ask(BROADCAST, {"id", "recipients"}, body=body)
        except UsageError as error:
            if topic is not None and _UNKNOWN_FIELD in str(error):
                raise WsctlError(f"{self.name} {_NO_TOPICS}") from None
            raise

    def disconnect(self, wanted: Disconnect) -> Answer:
        """Close all connections of a client. The answer has the number of `connections`.

        Raises:
            WsctlError: there is none, or the server is of a release that disconnects nobody.
        """
        query = wanted.target.removeprefix(wanted.path)
        return self._ask(DISCONNECT, {"connections"}, query, path=wanted.path, absent=_NO_DISCONNECT)

    def publish_lines(self, lines: Sequence[bytes]) -> list[Answer]:
        """Publish a batch, of which each line is a message as JSON. The answer to each is its receipt, or has
        its `error`.

        Raises:
            WsctlError: the server is of a release before batches.
        """
        body = b"".join([line + b"\n" for line in lines])
        status, text = self._exchange("POST", PUBLISH.path, body, self._patience, kind=NDJSON)
        if status != HTTPStatus.OK:
            answer = _object(text)
            if status == HTTPStatus.NOT_FOUND and "error" in answer:
                raise WsctlError(f"{self.name} {_NO_BATCHES}")
            raise self._failure(status, answer)
        answers = [_object(line) for line in text.splitlines()]
        if len(answers) != len(lines) or not all(answers):
            raise self._not_wsctl(status)
        return answers

    def drain(self, timeout: float | None = None) -> Answer:
        """Begin a drain, or move the deadline of the one that runs, to `timeout` seconds from now."""
        body = {} if timeout is None else {"timeout": timeout}
        return self._ask(DRAIN, {"status", "drain"}, body=body)

    def cancel(self) -> Answer:
        """Cancel the drain."""
        return self._ask(CANCEL_DRAIN, {"status"})

    def wait_drained(self, asked: Callable[[], object] = lambda: None) -> Answer:
        """Wait, without limit, for the end of a drain, also one that is still to begin.

        The answer has `exit_code`, and `drain`, None when the drain was cancelled. `asked` is called when the
        request is sent.
        """
        return self._ask(WAIT_DRAINED, {"drain", "exit_code"}, endless=True, asked=asked)

    def dashboard_link(self) -> Answer:
        """Return a `link` to the dashboard, good once and for `expires_in_s` seconds.

        Raises:
            WsctlError: the server is of a release before dashboards.
        """
        return self._ask(DASHBOARD_LINK, {"link", "expires_in_s"}, absent=_NO_DASHBOARD)

    def upgrade(self) -> Answer:
        """Begin to hand over to a fresh process. `upgrade` in the answer is the progress of that."""
        return self._ask(UPGRADE, {"upgrade"})

    def wait_upgraded(self, asked: Callable[[], object] = lambda: None) -> Answer:
        """Wait, without limit, for the end of an upgrade, also one that is still to begin.

        `upgrade` in the answer is how it ended. `asked` is called when the request is sent.
        """
        return self._ask(WAIT_UPGRADED, {"upgrade"}, endless=True, asked=asked)

    def _ask(
        self,
        operation: Operation,
        expected: set[str] | frozenset[str],
        query: str = "",
        *,
        body: Answer | None = None,
        endless: bool = False,
        asked: Callable[[], object] = lambda: None,
        absent: str = "",
        path: str = "",
    ) -> Answer:
        wait = None if endless else self._patience
        path = path or operation.path
        sent = None if body is None else json.dumps(body).encode()
        status, text = self._exchange(operation.method, path + query, sent, wait, asked)
        answer = _object(text)
        is_unknown = absent and status == HTTPStatus.NOT_FOUND and "error" in answer
        if is_unknown and answer["error"].get("code") != NOT_CONNECTED:
            raise WsctlError(f"{self.name} {absent}")
        if status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            raise self._failure(status, answer)
        if not expected <= answer.keys():
            raise self._not_wsctl(status)
        return answer

    def _exchange(
        self,
        method: str,
        path: str,
        sent: bytes | None,
        wait: float | None,
        asked: Callable[[], object] = lambda: None,
        *,
        kind: str = JSON,
    ) -> tuple[int, bytes]:
        check_not_stopped(self._target)
        connection = self._connection()
        slow = self._slow_timer() if wait is not None else None
        try:
            connection.connect()
            connection.sock.settimeout(wait)
            # Refused before all of it was sent: why is in the answer.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, self._base + path, sent, self._headers(kind))
            asked()
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            if slow:
                slow.cancel()
            connection.close()

    def _slow_timer(self) -> threading.Timer | None:
        """Start the time after which `waiting` is told; None where there is nobody to tell."""
        if self._waiting is None:
            return None
        timer = threading.Timer(SLOW, self._waiting, [f"{self.process} has not answered yet: waiting"])
        timer.daemon = True
        timer.start()
        return timer

    def _connection(self) -> http.client.HTTPConnection:
        if self._target.control:
            return _UnixConnection(self._target.control)
        at = urlsplit(self._target.url or "")
        host = at.hostname or ""
        if at.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, at.port, timeout=CONNECT_TIMEOUT, context=context)
        return http.client.HTTPConnection(host, at.port, timeout=CONNECT_TIMEOUT)

    @property
    def _base(self) -> str:
        return "" if self._target.control else urlsplit(self._target.url or "").path

    def _headers(self, kind: str) -> dict[str, str]:
        headers = {"content-type": kind, "connection": "close"}
        # The control socket needs no secret, so it is told none.
        if self._target.token and not self._target.control:
            headers["authorization"] = f"Bearer {self._target.token}"
        return headers

    def _unreachable(self, error: Exception) -> Unreachable:
        if self._target.control and isinstance(error, TimeoutError):
            check_not_stopped(self._target)
            return Silent(f"{self.process} does not answer: it hangs; its log may know why")
        failure, text = next((to, text) for kind, to, text in _CONNECT_ERRORS if isinstance(error, kind))
        why = getattr(error, "verify_message", None) or getattr(error, "reason", None)
        why = why or getattr(error, "strerror", None) or str(error)
        return failure(text.format(name=self.name, why=_quoted(str(why))))

    def _not_wsctl(self, status: int) -> Unreachable:
        text = f"{self.name} is no wsctl server: it answered {status} with something else"
        if status == HTTPStatus.NOT_FOUND:
            text += "; if it has --admin-port, name that address"
        return Unreachable(text)

    def _failure(self, status: int, answer: Answer) -> WsctlError:
        error = answer.get("error")
        text = error.get("message") if isinstance(error, dict) else None
        if isinstance(error, dict) and error.get("code") == NOT_CONNECTED and isinstance(text, str):
            return WsctlError(_quoted(text))
        if not isinstance(text, str) or status == HTTPStatus.NOT_FOUND:
            return self._not_wsctl(status)
        if status == HTTPStatus.UNAUTHORIZED:
            text = _WRONG_CREDENTIAL if self._target.token else _NO_CREDENTIAL
        kind, line = _STATUS_ERRORS.get(status, (WsctlError, "{name} failed: {text}"))
        if isinstance(error, dict) and error.get("code") in (HOST_NOT_ALLOWED, PUBLISH_ONLY):
            kind, line = Refused, "{name} refuses: {text}"
        if isinstance(error, dict) and error.get("code") == CLOSING:
            kind = ClosingError
        if isinstance(error, dict) and error.get("code") == DEGRADED:
            kind, line = DegradedError, "{name} is degraded and did not publish it: {text}; try again later"
        if isinstance(error, dict) and error.get("code") == UNCONFIRMED:
            kind, line = UnconfirmedError, "{name} does not know whether it was published: {text}"
        return kind(line.format(name=self.name, text=_quoted(text)))


def read_status(told: Answer) -> ServerStatus:
    """Return the status that a server answered. What an older server does not tell yet it may leave out.

    Raises:
        WsctlError: the answer is of another version of wsctl.
    """
    if told["drain"]:
        drain_progress(told["drain"])
    if told.get("upgrade"):
        handover_progress(told["upgrade"])
    try:
        return ServerStatus.from_json(told)
    except (KeyError, TypeError, ValueError):
        text = (
            "the server runs another version, whose status cannot be shown: 'wsctl status --json' prints it"
        )
        raise WsctlError(text) from None


def read_topics(told: Answer) -> TopicList:
    """Return the topics that a server answered.

    Raises:
        WsctlError: the answer is of another version of wsctl.
    """
    try:
        return decode(TopicList, told)
    except (KeyError, TypeError, ValueError):
        text = "the server runs another version, whose topics cannot be shown: 'wsctl status --topics --json'"
        raise WsctlError(f"{text} prints them") from None


def drain_progress(drain: Mapping[str, Any]) -> DrainProgress:
    """Return the progress of a drain that a server answered, as the record that it was made from. What has a
    default an older server may leave out.

    Raises:
        WsctlError: the answer is of another version of wsctl.
    """
    try:
        return decode(DrainProgress, drain)
    except (KeyError, TypeError, ValueError):
        text = (
            "the server runs another version, whose drain cannot be shown: use the wsctl it was started with"
        )
        raise WsctlError(text) from None


def handover_progress(upgrade: Mapping[str, Any]) -> HandoverProgress:
    """Return the progress of an upgrade that a server answered, as the record that it was made from.

    Raises:
        WsctlError: the answer is of another version of wsctl.
    """
    try:
        return decode(HandoverProgress, upgrade)
    except (KeyError, ValueError, TypeError):
        text = (
            "the server runs another version, whose upgrade cannot be shown: 'wsctl status --json' prints it"
        )
        raise WsctlError(text) from None


class _UnixConnection(http.client.HTTPConnection):
    """A connection for HTTP over the Unix socket at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CONNECT_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_TIMEOUT)
        self.sock.connect(self._path)


def _object(text: bytes) -> Answer:
    """Return the JSON object in an answer; an empty one for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _quoted(text: str) -> str:
    """Return a server's words shortened, and unable to move a cursor."""
    short = text[:MAX_QUOTED]
    return short if short.isprintable() else ascii(short)
