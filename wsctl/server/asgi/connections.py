"""The connections of an application that is not ours: WebSockets, and requests without their whole answer.

A drain counts them, gives them notice, closes those whose policy says so, and in the end all. Each ends in
one of these ways:

by itself       the application has returned
by its policy   at its moment, which is part of the plan
by force        at the deadline, or because the operator insists
cut             its task is cancelled, as it has not returned within ten seconds after one of the two
"""

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from enum import IntEnum, auto
from functools import lru_cache
from itertools import islice

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wsctl.codes import CLOSE_TIMEOUT, RESTART, CloseCode
from wsctl.drain.pace import moments
from wsctl.drain.progress import ClientCounts, ConnectionKind, EndingCounts, RouteCount
from wsctl.server.asgi.notice import EXTENSION, ShutdownNotice, ShutdownState
from wsctl.server.http.closing import CLOSE_HEADER, ending_connection
from wsctl.server.http.proxy import TrustedProxies, apply_proxy_headers
from wsctl.server.http.semantics import error_body
from wsctl.server.websocket.drain_rejection import REASON
from wsctl.settings import DrainPolicy, PolicyAction

log = logging.getLogger("wsctl.application")

MAX_ROUTE = 128
"""Characters of a path that are shown where no route is known."""

CACHED_PATHS = 1024
"""The number of paths for which the policy is cached."""

FINISH = DrainPolicy("*", PolicyAction.FINISH)
"""The policy where none of the settings matches."""


class ConnectionEnded(OSError):
    """The error of a `send` on a connection that the server has ended, as ASGI asks for since its HTTP and
    WebSocket specification 2.4."""


class Ending(IntEnum):
    """The ways in which a connection of an application ends."""

    LEFT = auto()
    BY_POLICY = auto()
    FORCED = auto()
    ABORTED = auto()


class ApplicationConnection:
    """One call of the application, with the way to end it.

    Attributes:
        notice: the notice that its scope has.
        ending: how the server has ended it, once it has.
        last_messages: sends what tells the peer of that.
        path: the path that was asked for; frameworks change the one in the scope.
    """

    __slots__ = (
        "_is_shutting_down",
        "_receive",
        "_scope",
        "_send",
        "_started",
        "_task",
        "ending",
        "kind",
        "last_messages",
        "notice",
        "path",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        notice: ShutdownNotice,
        is_shutting_down: Callable[[], bool],
    ) -> None:
        self._is_shutting_down = is_shutting_down
        self.kind = ConnectionKind.WEBSOCKET if scope["type"] == "websocket" else ConnectionKind.RESPONSE
        self.notice = notice
        self.path: str = scope["path"]
        self.ending: Ending | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = False
        self.last_messages: asyncio.Task[None] | None = None
        self._task = asyncio.current_task()

    @property
    def route(self) -> str:
        """The route that has taken it, as the framework writes it, or its path where that is not known, with
        the names of the parameters that were found in it.

        Frameworks tell what their innermost router knows: in front of it stands the part of the path that led
        there, as to a mounted application or an included router.
        """
        route = self._scope.get("route")
        found = getattr(route, "path_format", None) or getattr(route, "path", None)
        if not isinstance(found, str):
            return self._with_names(self.path)[:MAX_ROUTE]
        known = getattr(getattr(route, "path_regex", None), "pattern", None)
        matched = _end_of_path(known).search(self.path) if isinstance(known, str) else None
        if matched is None:
            return found
        return self._with_names(self.path[: matched.start()], matched.groupdict())[:MAX_ROUTE] + found

    def _with_names(self, path: str, besides: Collection[str] = ()) -> str:
        """Return a path with the parameters named that the framework has found in it, but for some: Starlette
        tells only those."""
        segments = path.split("/")
        for name, value in (self._scope.get("path_params") or {}).items():
            places = [n for n, segment in enumerate(segments) if segment == str(value)]
            if places and name not in besides:
                segments[places[-1]] = f"{{{name}}}"
        return "/".join(segments)

    async def send(self, message: Message) -> None:
        """Send for the application.

        Raises:
            ConnectionEnded: the server has ended the connection.
        """
        if self.ending:
            raise ConnectionEnded(RESTART)
        if not self._started:
            self._started = True
            if message["type"] == "http.response.start" and self._is_shutting_down():
                message = ending_connection(message)
        await self._send(message)

    def end(self, ending: Ending) -> None:
        """End the connection: a WebSocket gets 1012, a stream its end, a request without an answer 503. The
        application is told by `websocket.disconnect` or `http.disconnect`."""
        self.ending = ending
        self.last_messages = asyncio.get_running_loop().create_task(self._send_last_messages())

    async def _send_last_messages(self) -> None:
        try:
            for message in self._last_messages():
                await self._send(message)
        except Exception:  # it has just ended, or its length was announced and is not reached
            self._transport.close()

    def cancel(self) -> None:
        """Cancel the application's task, and drop what the peer has not taken."""
        self._transport.abort()
        if self._task:
            self._task.cancel()

    @property
    def _transport(self) -> asyncio.Transport:
        """The transport below: uvicorn's `receive` is a method of an object that has it."""
        transport: asyncio.Transport = self._receive.__self__.transport  # type: ignore[attr-defined]
        return transport

    def _last_messages(self) -> Sequence[Message]:
        if self.kind is ConnectionKind.WEBSOCKET and self._started:
            return [{"type": "websocket.close", "code": int(CloseCode.SERVICE_RESTART), "reason": RESTART}]
        if self._started:
            return [{"type": "http.response.body", "body": b"", "more_body": False}]
        body = json.dumps(error_body("closing", "the server closes its connections: try again")).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            CLOSE_HEADER,
        ]
        # Of a handshake too: 503 has clients try again, where the 403 of a close is final.
        prefix = "websocket." if self.kind is ConnectionKind.WEBSOCKET else ""
        return [
            {"type": f"{prefix}http.response.start", "status": 503, "headers": headers},
            {"type": f"{prefix}http.response.body", "body": body, "more_body": False},
        ]


class ApplicationConnections:
    """All connections of the application. `policies` are those of the settings, of which the first that
    matches counts; `spread` is the time in seconds before the deadline over which connections are closed.

    Attributes:
        state: the end of the server, which their notices read.
        active: those that are there, the oldest first; the values mean nothing.
        closing: those that the server has ended and whose application has not returned.
        late: requests that came while the server drained. They are answered, and no drain waits for them, so
            that it ends on a busy server, too.
        observers: called after each change.
        is_shutting_down: tells whether answers end their connections, so that clients connect anew to another
            server (RFC 9112 section 9.6).
    """

    def __init__(
        self,
        policies: Sequence[DrainPolicy],
        clock: Callable[[], float],
        spread: float = 0.0,
    ) -> None:
        self.state = ShutdownState(clock)
        self.active: dict[ApplicationConnection, None] = {}
        self.closing: set[ApplicationConnection] = set()
        self.late: set[ApplicationConnection] = set()
        self.observers: list[Callable[[], None]] = []
        self.is_shutting_down: Callable[[], bool] = lambda: False
        self._policies = [(_pattern(policy.pattern), policy) for policy in policies]
        self._policy_of = lru_cache(CACHED_PATHS)(self._find_policy)
        self._clock = clock
        self._spread = spread
        self._timers: dict[ApplicationConnection, asyncio.TimerHandle] = {}
        self._ended: Counter[Ending] = Counter()
        self._aborted: Counter[Ending] = Counter()  # by what had ended them before
        self._active: Counter[ConnectionKind] = Counter()

    def counts(self, named: int = 0) -> ClientCounts:
        """Return the counts, with so many of the busiest routes; without, it costs the same however many
        connections there are."""
        ended, aborted = self._ended, self._aborted
        websockets = self._active[ConnectionKind.WEBSOCKET]
        return ClientCounts(
            active=len(self.active),
            websockets=websockets,
            responses=len(self.active) - websockets,
            closing=len(self.closing),
            left=ended[Ending.LEFT],
            by_policy=ended[Ending.BY_POLICY] - aborted[Ending.BY_POLICY],
            forced=ended[Ending.FORCED] - aborted[Ending.FORCED],
            aborted=aborted.total(),
            routes=tuple(self.routes(named)) if named else (),
        )

    def ended(self) -> EndingCounts:
        """Return how many connections have ended since the start, for counters that only grow."""
        ended = self._ended
        return EndingCounts(
            ended[Ending.LEFT], ended[Ending.BY_POLICY], ended[Ending.FORCED], self._aborted.total()
        )

    def routes(self, most: int) -> list[RouteCount]:
        """Return the routes with the most connections, so many at most."""
        found = Counter((connection.kind, connection.route) for connection in self.active)
        return [RouteCount(kind, route, count) for (kind, route), count in found.most_common(most)]

    def open(self, scope: Scope, receive: Receive, send: Send) -> ApplicationConnection:
        """Count a connection in, from within its task; while the server drains its policy applies at once."""
        notice = ShutdownNotice(self.state)
        connection = ApplicationConnection(
            scope,
            receive,
            send,
            notice=notice,
            is_shutting_down=self.is_shutting_down,
        )
        if self.state.began.is_set():
            self.late.add(connection)
            self._schedule([connection])
        else:
            self.active[connection] = None
            self._active[connection.kind] += 1
        return connection

    def close(self, connection: ApplicationConnection) -> None:
        """Count a connection out: the application has returned."""
        if connection in self.active:
            self._deactivate(connection)
            self._ended[Ending.LEFT] += 1
        else:
            self.late.discard(connection)
            self.closing.discard(connection)
            self._forget_timer(connection)
        self._changed()

    def exempt(self, notice: ShutdownNotice) -> None:
        """Count the connection with this notice no more: it is a hub's client, whom the drain knows."""
        for connection in [*self.active, *self.late]:
            if connection.notice is notice:
                self._deactivate(connection)
                self._changed()
                return

    def _deactivate(self, connection: ApplicationConnection) -> None:
        if connection in self.active:
            del self.active[connection]
            self._active[connection.kind] -= 1
        else:
            self.late.discard(connection)
        if self._timers:
            self._forget_timer(connection)

    def _forget_timer(self, connection: ApplicationConnection) -> None:
        if timer := self._timers.pop(connection, None):
            timer.cancel()

    # The drain

    def announce(self, remaining_s: float, reason: str, window: float | None = None) -> None:
        """Give notice of a drain that closes everything in so many seconds, or of a new deadline. There is no
        way to ask applications to spread over a window: they hear of it all at once."""
        begins = not self.state.began.is_set()
        self.state.begin(remaining_s, reason)
        if begins and self._policies:
            self._schedule(list(self.active))

    def withdraw(self) -> None:
        """Take the notice back: the drain was cancelled."""
        self.state.withdraw()
        for connection in self.late:
            self.active[connection] = None
            self._active[connection.kind] += 1
        self.late.clear()
        for connection in self.active:
            self._forget_timer(connection)
            connection.notice.closes_at = None

    def close_oldest(self, count: int) -> int:
        """End so many connections by force, those that have been there for longest; return how many were
        there to be ended."""
        oldest = list(islice(self.active, count))
        for connection in oldest:
            self._end(connection, Ending.FORCED)
        return len(oldest)

    def close_all(self) -> None:
        """End all connections by force."""
        self.close_oldest(len(self.active))
        self.close_late()

    def close_late(self) -> None:
        """End the requests that came while the server drained."""
        for connection in list(self.late):
            self._end(connection, Ending.FORCED)

    def abort(self) -> None:
        """Cancel the applications that have not returned since their connections were ended."""
        for connection in list(self.closing):
            self._cut(connection)

    def flush(self) -> None:
        """Do nothing: nothing is gathered."""

    def _schedule(self, connections: Sequence[ApplicationConnection]) -> None:
        """Set the moments at which the policies of connections end them. Those that are to be closed at once
        are, one after the other where the settings spread them."""
        loop = asyncio.get_running_loop()
        by_policy = [(connection, self._policy_of(connection.path)) for connection in connections]
        at_once = [c for c, policy in by_policy if policy.action is PolicyAction.CLOSE]
        waits = dict(zip(at_once, moments(len(at_once), self._spread), strict=True))
        waits |= {c: policy.seconds for c, policy in by_policy if policy.action is PolicyAction.NOTIFY}
        for connection, wait in waits.items():
            connection.notice.closes_at = self._clock() + wait
            self._timers[connection] = loop.call_later(wait, self._end, connection, Ending.BY_POLICY)

    def _end(self, connection: ApplicationConnection, ending: Ending) -> None:
        self._deactivate(connection)
        self.closing.add(connection)
        self._ended[ending] += 1
        loop = asyncio.get_running_loop()
        self._timers[connection] = loop.call_later(CLOSE_TIMEOUT, self._cut, connection)
        connection.end(ending)
        self._changed()

    def _cut(self, connection: ApplicationConnection) -> None:
        """Cancel an application that has not returned since its connection was ended."""
        if connection.ending and connection.ending is not Ending.ABORTED:
            self._aborted[connection.ending] += 1
            connection.ending = Ending.ABORTED
            connection.cancel()

    def _find_policy(self, path: str) -> DrainPolicy:
        return next((policy for pattern, policy in self._policies if pattern.fullmatch(path)), FINISH)

    def _changed(self) -> None:
        for observer in self.observers:
            observer()


class DrainedApplication:
    """An ASGI application whose calls are counted among `connections`, and have the notice in their scope.

    While `rejects` says so, WebSockets are accepted and closed with 1001 without the application, after as
    many seconds as `delay` gives for their address. `lifespan` is called for the lifespan, if it is not the
    application itself; `proxies` are believed about a client's address.
    """

    def __init__(
        self,
        app: ASGIApp,
        connections: ApplicationConnections,
        *,
        rejects: Callable[[], bool],
        delay: Callable[[str], float],
        lifespan: ASGIApp | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._proxies = proxies or TrustedProxies(None)
        self._app = app
        self._lifespan = lifespan or app
        self._connections = connections
        self._rejects = rejects
        self._delay = delay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._lifespan(scope, receive, send)
            return
        apply_proxy_headers(scope, self._proxies)
        if scope["type"] == "websocket" and self._rejects():
            await self._reject(scope, receive, send)
            return
        connection = self._connections.open(scope, receive, send)
        scope.setdefault("extensions", {})[EXTENSION] = connection.notice
        try:
            await self._app(scope, receive, connection.send)
        except asyncio.CancelledError:
            if not connection.ending:
                raise
        except Exception as error:
            if not connection.ending:
                raise
            log.debug("the application raised after its connection was ended", exc_info=error)
        finally:
            if connection.last_messages:  # without them uvicorn would close the connection
                with suppress(asyncio.CancelledError):
                    await connection.last_messages
            self._connections.close(connection)

    async def _reject(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        client = scope.get("client")
        await asyncio.sleep(self._delay(client[0] if client else ""))
        await send({"type": "websocket.close", "code": int(CloseCode.GOING_AWAY), "reason": REASON})


def _pattern(text: str) -> re.Pattern[str]:
    """Return the expression of a policy's pattern, in which `*` is any text."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


@lru_cache(CACHED_PATHS)
def _end_of_path(route: str) -> re.Pattern[str]:
    """Return the expression of a route without its anchor at the begin of the path."""
    return re.compile(route.removeprefix("^"))
