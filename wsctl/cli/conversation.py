"""The sessions of one command: which one sends what, and when the command ends."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Protocol

from wsctl.cli.ui.text import printable
from wsctl.cli.ui.transcript import Transcript
from wsctl.client.connection import CREDENTIAL_SOURCE
from wsctl.client.deliveries import UNSENT, Deliveries
from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    end_text,
    is_final,
)
from wsctl.client.session import NotConnected, Session
from wsctl.codes import CloseCode, ExitCode
from wsctl.errors import Refused, Unreachable, UsageError, WsctlError

ECHO_TIMEOUT = 2.0
"""Seconds without an answer after which what was piped in and has not come back counts as not delivered."""

_ERROR_OF_STATUS: dict[int, type[WsctlError]] = {
    HTTPStatus.BAD_REQUEST: UsageError,
    HTTPStatus.UNAUTHORIZED: Refused,
    HTTPStatus.FORBIDDEN: Refused,
}
"""The errors for final answers; any other one is no answer of a wsctl server."""


class LineInput(Protocol):
    """The line where a person types."""

    async def read(self) -> str:
        """Read the next line; EOFError when the person leaves."""

    def put_back(self, text: str) -> None:
        """Offer a line again that could not be used."""


class Member:
    """One client of the command.

    Attributes:
        open: set while it is connected.
        resolved: set once it has been connected, or never will be.
        messages: the number of messages that arrived.
    """

    def __init__(self, client_id: str, session: Session) -> None:
        self.client_id = client_id
        self.session = session
        self.open = asyncio.Event()
        self.resolved = asyncio.Event()
        self.messages = 0


class Conversation:
    """Shows what happens to its members, of which the first one sends, with a `topic` to that one."""

    def __init__(
        self,
        members: Sequence[Member],
        transcript: Transcript,
        count: int | None = None,
        topic: str | None = None,
    ) -> None:
        self._members = members
        self._transcript = transcript
        self._count = count
        self._topic = topic
        self._enough = asyncio.Event()
        self._deliveries = Deliveries()
        self._answered = asyncio.Event()
        self._connected_once = False
        self._leaving = False

    async def run(self, *ends: Coroutine[Any, Any, object], at_once: Coroutine[Any, Any, object]) -> ExitCode:
        """Run until one of `ends` completes, or every member has its count, or none will be let in again;
        what was piped in then still has time to come back. Or until `at_once` completes.

        Raises:
            WsctlError: there is no server, or it will not have us, or not everything was delivered.
        """
        receivers = [asyncio.ensure_future(self._receive_events(member)) for member in self._members]
        receiving: asyncio.Future[Any] = asyncio.gather(*receivers)
        leaving = asyncio.ensure_future(at_once)
        ending: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(end) for end in (self._enough.wait(), *ends)
        ]
        try:
            over = {receiving, leaving, *ending}
            done, _ = await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            for end in ending:
                end.cancel()
            for end in done:
                end.result()
            await self._wait_for_answers(receiving, leaving)
        except WsctlError:
            if complaint := undelivered(self._deliveries):
                self._transcript.note(complaint)
            raise
        finally:
            self._leaving = True
            for end in (leaving, *ending):
                end.cancel()
            await asyncio.gather(*(member.session.close() for member in self._members))
            await asyncio.gather(receiving, *receivers, leaving, *ending, return_exceptions=True)
            self._transcript.flush()
        if complaint := undelivered(self._deliveries):
            raise WsctlError(complaint)
        return ExitCode.DONE if done - {receiving} else ExitCode.ERROR

    async def send_typed(self, prompt: LineInput) -> None:
        """Send what a person types, until the person leaves. What cannot be sent is offered again."""
        while True:
            try:
                text = await prompt.read()
            except EOFError:
                return
            if not text:
                self._reconnect_now()
                continue
            try:
                await self._send(text)
            except NotConnected:
                self._transcript.note("not sent: there is no connection")
                prompt.put_back(text)
                self._reconnect_now()

    def _reconnect_now(self) -> None:
        """Make the members that wait for their next attempt try now."""
        for member in self._members:
            member.session.reconnect_now()

    async def send_piped(self, lines: AsyncIterator[str], *, stay: bool) -> None:
        """Send each line, once every member is there to hear it. Ends with the input; with `stay`, or
        without a line, it never does."""
        for member in self._members:
            await member.resolved.wait()
        async for line in lines:
            await self._send_when_open(line)
        if stay or not self._deliveries.total:
            await asyncio.Event().wait()

    async def _send(self, text: str, ref: str | None = None) -> None:
        session = self._members[0].session
        if session.speaks_commands or self._topic is not None:
            await session.post("publish", ref, data=text, topic=self._topic)
        else:
            await session.send(text)

    async def _send_when_open(self, text: str) -> None:
        member = self._members[0]
        message = self._deliveries.add(text)
        message.ref = f"line {self._deliveries.total}"
        while True:
            await member.open.wait()
            message.reason = ""
            try:
                return await self._send(text, message.ref)
            except NotConnected:
                # The event that says so has not been read yet.
                member.open.clear()
                message.reason = UNSENT

    async def _wait_for_answers(self, *over: "asyncio.Future[Any]") -> None:
        """Wait for what was sent to come back, as long as answers come and nothing is over."""
        while not self._deliveries.settled and not any(future.done() for future in over):
            self._answered.clear()
            answer = asyncio.ensure_future(self._answered.wait())
            done, _ = await asyncio.wait(
                {answer, *over}, timeout=ECHO_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
            )
            answer.cancel()
            if not done:
                return

    async def _receive_events(self, member: Member) -> None:
        async with aclosing(member.session.events()) as events:
            async for event in events:
                if not self._leaving:
                    self._handle_event(member, event)
        member.resolved.set()

    def _handle_event(self, member: Member, event: Event) -> None:
        match event:
            case Opened():
                self._connected_once = True
                member.open.set()
                member.resolved.set()
            case Closed() | Moved() | ConnectFailed() | HandshakeRefused():
                member.open.clear()
                self._note_end(member, event)
            case Received(frame=frame):
                self._note_answer(member, frame)
                if frame.get("type") == "message" and not self._count_message(member):
                    return
        fatal = fatal_error(event, connected_once=self._connected_once)
        if fatal is None or self._transcript.complete:
            self._transcript.event(member.client_id, event)
        if fatal:
            raise fatal
        if self._count is not None and all(m.messages >= self._count for m in self._members):
            self._enough.set()

    def _count_message(self, member: Member) -> bool:
        """Count a message; tell whether it is one that was asked for: a member with its count waits for the
        others."""
        member.messages += 1
        return self._count is None or member.messages <= self._count

    def _note_answer(self, member: Member, frame: dict[str, Any]) -> None:
        """Note an echo, the answer to a command, or the error which says that there will be no echo."""
        if member is not self._members[0]:
            return
        ref = frame.get("ref")
        if frame.get("type") == "ok" and ref is not None:
            self._deliveries.answered(ref)
        elif frame.get("type") == "error" and ref is not None:
            self._deliveries.answered(ref, str(frame.get("code")))
        elif frame.get("type") == "error":
            self._deliveries.refused(str(frame.get("code")))
        elif frame.get("from") == member.client_id and member.session.speaks_commands:
            self._deliveries.echoed(frame.get("data"))
        elif frame.get("from") == member.client_id:
            self._deliveries.came_back(frame.get("data"))
        self._answered.set()

    def _note_end(self, member: Member, event: Closed | Moved | ConnectFailed | HandshakeRefused) -> None:
        if member is not self._members[0]:
            return
        match event:
            case Closed(code=code, reason=reason):
                self._deliveries.closed(code, reason)
            case Moved():
                self._deliveries.closed(CloseCode.NORMAL, "as the server asked")


def undelivered(deliveries: Deliveries) -> str:
    """Say which messages did not come back, and why; empty when everything did."""
    failures = deliveries.failures()
    if not failures:
        return ""
    why = ", ".join(f"{count} {reason}" for reason, count in failures.items())
    messages = "message" if deliveries.total == 1 else "messages"
    return f"{sum(failures.values())} of {deliveries.total} {messages} did not come back: {why}"


def fatal_error(event: Event, *, connected_once: bool) -> WsctlError | None:
    """Return the error with which an event ends the command; None when it goes on. A server that was there
    before is waited for; one that never was is not."""
    match event:
        case ConnectFailed() if is_final(event) or not connected_once:
            return Unreachable(printable(event.advised))
        case HandshakeRefused(status=status) if is_final(event):
            kind = _ERROR_OF_STATUS.get(status, Unreachable)
            advice = f"; {CREDENTIAL_SOURCE}" if status == HTTPStatus.UNAUTHORIZED else ""
            return kind(f"the server {printable(end_text(event))}{advice}")
    return None
