"""The calls of an application's hooks: each with a deadline, those of one client one after the other. All
calls of `on_subscribe` for the topics of one command or handshake have one deadline together.

A hook that raises, or takes too long, is logged by its name, and harms nobody but the client that it was
called for. One that is no coroutine function is called at once, on the event loop: it must not block.
"""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from wsctl import client_ids, messages
from wsctl.codes import ErrorCode
from wsctl.hub.connection import Connection
from wsctl.hub.intake import Intake
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket.hooks import Client, Handshake, Hooks, Incoming, Refuse, Reject, hook_name
from wsctl.server.websocket.identities import Identities

MAX_WAITING = 64
"""Messages and commands of one client that may wait for its hooks: three seconds of the default rate."""

LAST_TIMEOUT = 5.0
"""Seconds that hooks have to end when the server does, where they have no deadline."""

PAUSE = 1.0
"""Seconds between two lines of the log about one hook and one kind of error."""

FAILED = HttpRefusal(
    HTTPStatus.INTERNAL_SERVER_ERROR, "hook_failed", "the server failed to decide whether you may connect"
)
"""The answer to a handshake whose hook failed."""

log = logging.getLogger("wsctl.application")


class HookFailed(Exception):
    """The error of a hook that took too long, was cancelled, or returned what it may not."""


class Identified(NamedTuple):
    """The verdict of `on_connect` that lets a client in, with its id and what is known of it."""

    client_id: str
    identity: Any = None


ConnectVerdict = Identified | HttpRefusal

Refused = Callable[[str, str], None]
"""Called with the code and the text of the error that a client gets."""


class _Step(NamedTuple):
    """A call that waits for its turn: what makes it, and what is done with its result and its error."""

    call: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]


class HookCalls:
    """Calls the hooks. Each has `timeout` seconds, 0 for no limit. What `on_message` returns is published by
    `intake`."""

    def __init__(
        self,
        hooks: Hooks,
        intake: Intake,
        identities: Identities,
        clock: Callable[[], float],
        timeout: float,
    ) -> None:
        self.hooks = hooks
        self._intake = intake
        self._identities = identities
        self._clock = clock
        self._timeout = timeout
        self._waiting: dict[Connection, deque[_Step]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._logged_at: dict[tuple[str, type[Exception]], float] = {}

    def is_busy(self, connection: Connection) -> bool:
        """Tell whether a hook is at work on what a connection has sent."""
        return connection in self._waiting

    def decides(self, topics: Sequence[str]) -> bool:
        """Tell whether there is a hook that decides about a client which connects with these topics."""
        return self.hooks.on_connect is not None or (self.hooks.on_subscribe is not None and bool(topics))

    def connect(
        self, handshake: Handshake, topics: Sequence[str] = ()
    ) -> ConnectVerdict | Awaitable[ConnectVerdict]:
        """Ask `on_connect` about a client, then `on_subscribe` about its topics; what waits for that is
        returned where a hook is a coroutine."""
        hook = self.hooks.on_connect
        if hook is None:
            return self._subscribe_at_connect(Identified(handshake.client_id), handshake, topics)
        try:
            result = hook(handshake)
            if inspect.isawaitable(result):
                return self._connect_later(hook, result, handshake, topics)
            identified = _identified(result, handshake)
        except Exception as error:
            return self._refusal(hook, error)
        return self._subscribe_at_connect(identified, handshake, topics)

    def message(self, connection: Connection, text: str) -> bool:
        """Give a client's text to `on_message`, behind what it sent before; tell whether there is one."""
        hook = self.hooks.on_message
        if hook is None:
            return False
        tell = partial(self._intake.tell, connection)
        self.ask(connection, hook, Incoming(text), partial(self._publish, connection), tell)
        return True

    def ask(
        self,
        connection: Connection,
        hook: Callable[[Client, Incoming], Any],
        incoming: Incoming,
        done: Callable[[Any], None],
        refused: Refused,
    ) -> None:
        """Give what a client has sent to a hook, behind what it sent before; `done` is called with what that
        returns."""
        text = "the server failed on this message: it was not published"
        failed = partial(self._reject, hook, refused, text)
        self._take(
            connection,
            _Step(lambda: hook(self._identities.client(connection), incoming), done, failed),
            refused,
        )

    def subscribe(
        self, connection: Connection, topics: Sequence[str], done: Callable[[Any], None], refused: Refused
    ) -> None:
        """Ask `on_subscribe` about each topic that a client asks for, behind what it sent before; `done` is
        called when it may subscribe to all."""
        hook = self.hooks.on_subscribe
        if hook is None or not topics:
            self.in_turn(connection, lambda: done(None), refused)
            return
        failed = partial(self._reject, hook, refused, "the server failed to decide about this topic")
        step = _Step(lambda: _each(hook, self._identities.client(connection), topics), done, failed)
        self._take(connection, step, refused)

    def in_turn(self, connection: Connection, call: Callable[[], None], refused: Refused) -> None:
        """Call a function behind the hooks for what a client has sent before: at once, if there are none."""
        if connection in self._waiting:
            self._take(connection, _Step(call, lambda _: None, partial(self._log_call, call)), refused)
        else:
            call()

    def disconnected(self, connection: Connection) -> None:
        """Call `on_disconnect` behind the calls for what the client has sent."""
        hook = self.hooks.on_disconnect
        if hook is not None:
            call = partial(hook, self._identities.client(connection), int(connection.code), connection.reason)
            step = _Step(call, lambda _: None, partial(self._log, hook))
            if queue := self._waiting.get(connection):
                queue.append(step)
            else:
                # Not from within what ends the connection.
                asyncio.get_running_loop().call_soon(self._begin, connection, step)
        self._identities.forget(connection)

    async def finish(self) -> None:
        """Wait until the calls under way have ended, for as long as one may take; then cancel them."""
        await asyncio.sleep(0)  # for those that were to begin
        if tasks := set(self._tasks):
            _, late = await asyncio.wait(tasks, timeout=self._timeout or LAST_TIMEOUT)
            for task in late:
                task.cancel()

    # on_connect

    async def _connect_later(
        self, hook: Callable[..., Any], result: Awaitable[Any], handshake: Handshake, topics: Sequence[str]
    ) -> ConnectVerdict:
        try:
            identified = _identified(await self._result_of(result), handshake)
        except Exception as error:
            return self._refusal(hook, error)
        verdict = self._subscribe_at_connect(identified, handshake, topics)
        return verdict if isinstance(verdict, Identified | HttpRefusal) else await verdict

    def _subscribe_at_connect(
        self, identified: Identified, handshake: Handshake, topics: Sequence[str]
    ) -> ConnectVerdict | Awaitable[ConnectVerdict]:
        hook = self.hooks.on_subscribe
        if hook is None or not topics:
            return identified
        client = self._identities.newcomer(identified.client_id, handshake.address, identified.identity)
        try:
            result = _each(hook, client, topics)
        except Exception as error:
            return self._subscribe_refusal(hook, error)
        return identified if result is None else self._subscribe_later(hook, result, identified)

    async def _subscribe_later(
        self, hook: Callable[..., Any], result: Awaitable[Any], identified: Identified
    ) -> ConnectVerdict:
        try:
            await self._result_of(result)
        except Exception as error:
            return self._subscribe_refusal(hook, error)
        return identified

    def _subscribe_refusal(self, hook: Callable[..., Any], error: Exception) -> HttpRefusal:
        if isinstance(error, Reject):
            return HttpRefusal(HTTPStatus.FORBIDDEN, error.code, error.message)
        return self._refusal(hook, error)

    def _refusal(self, hook: Callable[..., Any], error: Exception) -> HttpRefusal:
        if isinstance(error, Refuse):
            code = error.status.phrase.lower().replace(" ", "_").replace("-", "_")
            return HttpRefusal(error.status, code, error.message)
        self._log(hook, error)
        return FAILED

    # The calls for one client

    def _take(self, connection: Connection, step: _Step, refused: Refused) -> None:
        queue = self._waiting.get(connection)
        if queue is None:
            self._begin(connection, step)
        elif len(queue) < MAX_WAITING:
            queue.append(step)
        else:
            text = "the application has not dealt with your earlier messages: this one was not sent"
            refused(ErrorCode.RATE_LIMITED, text)

    def _begin(self, connection: Connection, step: _Step) -> None:
        if connection in self._waiting:
            self._waiting[connection].append(step)
        elif (result := self._call(step)) is not None:
            self._waiting[connection] = deque()
            self._spawn(self._work(connection, step, result))

    def _call(self, step: _Step) -> Awaitable[Any] | None:
        """Call a hook; return what waits for its result, where it is a coroutine."""
        try:
            result = step.call()
            if inspect.isawaitable(result):
                return result
            step.done(result)
        except Exception as error:
            step.failed(error)
        return None

    async def _work(self, connection: Connection, step: _Step, result: Awaitable[Any]) -> None:
        """Wait for the call that has begun, then make those that came meanwhile."""
        queue, under_way = self._waiting[connection], result
        try:
            while True:
                try:
                    step.done(await self._result_of(under_way))
                except Exception as error:
                    step.failed(error)
                begun = None
                while queue and begun is None:
                    step = queue.popleft()
                    begun = self._call(step)
                if begun is None:
                    return
                under_way = begun
        finally:
            del self._waiting[connection]

    def _publish(self, connection: Connection, data: Any) -> None:
        if data is not None:
            self._intake.publish(connection, data)

    def _reject(self, hook: Callable[..., Any], refused: Refused, text: str, error: Exception) -> None:
        if isinstance(error, Reject):
            refused(error.code, error.message)
            return
        self._log(hook, error)
        refused(ErrorCode.HOOK_FAILED, text)

    def _log_call(self, call: Callable[[], None], error: Exception) -> None:
        log.error("a command failed: %s", error, exc_info=error)

    # What all have in common

    async def _result_of(self, awaitable: Awaitable[Any]) -> Any:
        """Return the result of a hook. One that is late is cancelled, and nobody waits for that."""
        task = asyncio.ensure_future(awaitable)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._timeout or None)
        finally:
            if not task.done():
                task.add_done_callback(drop_error)
                task.cancel()
        if not done:
            raise HookFailed(f"it took longer than {self._timeout:g} seconds: --hook-timeout gives it more")
        if task.cancelled():
            raise HookFailed("it was cancelled")
        return task.result()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _log(self, hook: Callable[..., Any], error: Exception) -> None:
        """Log that a hook failed: with its traceback, but each kind of error not more than
        once a second."""
        name, now = hook_name(hook), self._clock()
        kind = name, type(error)
        if now - self._logged_at.get(kind, float("-inf")) < PAUSE:
            return
        self._logged_at[kind] = now
        traceback = None if isinstance(error, HookFailed) else error
        log.error("the hook %s failed: %s: %s", name, type(error).__name__, error, exc_info=traceback)


def _each(
    hook: Callable[[Client, str], Any], client: Client, topics: Sequence[str]
) -> Awaitable[None] | None:
    """Call a hook for each topic, one after the other; return what waits for the rest where it is a
    coroutine."""
    rest = iter(topics)
    for topic in rest:
        result = hook(client, topic)
        if inspect.isawaitable(result):
            return _each_later(hook, client, result, rest)
    return None


async def _each_later(
    hook: Callable[[Client, str], Any], client: Client, first: Awaitable[Any], rest: Iterator[str]
) -> None:
    await first
    for topic in rest:
        result = hook(client, topic)
        if inspect.isawaitable(result):
            await result


def _identified(result: Any, handshake: Handshake) -> Identified:
    """Return what `on_connect` has returned: nothing, an id, or a pair of an id and an identity.

    Raises:
        HookFailed: it is something else.
    """
    if result is None:
        return Identified(handshake.client_id)
    name, identity = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(name, str):
        raise HookFailed(f"it returned {name!r}: return an id, an id and an identity, or None")
    try:
        messages.encode({"identity": identity})
        return Identified(client_ids.client_id(name), identity)
    except client_ids.InvalidClientId as error:
        raise HookFailed(f"it returned the id {name!r}: {error}") from None
    except (TypeError, ValueError, RecursionError):
        text = "it returned an identity that is not JSON, without which no client can move in an upgrade"
        raise HookFailed(text) from None


def drop_error(task: "asyncio.Future[Any]") -> None:
    """Take the error of a task for known, whatever it was: nobody waits for its result any more."""
    if not task.cancelled():
        task.exception()
