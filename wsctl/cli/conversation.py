"""Several sessions of one command: who says what, and when it is over."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from wsctl.cli.failures import failure
from wsctl.cli.ui.transcript import Transcript
from wsctl.client.events import Closed, Event, Failed, Moved, Opened, Received, Refused
from wsctl.client.session import NotConnected, Session
from wsctl.codes import ExitCode
from wsctl.errors import WsctlError

ECHO_TIMEOUT = 2.0
"""Seconds that what was piped in has to come back before the command leaves."""


class Prompt(Protocol):
    """Where a person types."""

    async def read(self) -> str:
        """The next line; EOFError when the person leaves."""

    def put_back(self, text: str) -> None:
        """A line that could not be used is to be offered again."""


class Member:
    """One client of the command.

    Attributes:
        open: set while it is connected.
        settled: set once it has been connected, or never will be.
        messages: how many arrived.
    """

    def __init__(self, client_id: str, session: Session) -> None:
        self.client_id = client_id
        self.session = session
        self.open = asyncio.Event()
        self.settled = asyncio.Event()
        self.messages = 0


class Conversation:
    """Shows what happens to its members, of which the first one sends."""

    def __init__(self, members: Sequence[Member], transcript: Transcript, count: int | None = None) -> None:
        self._members = members
        self._transcript = transcript
        self._count = count
        self._enough = asyncio.Event()
        self._answers = 0
        self._refusals = 0
        self._answered = asyncio.Event()
        self._connected_once = False
        self._leaving = False

    async def run(self, *ends: Coroutine[Any, Any, object]) -> ExitCode:
        """Until one of `ends` completes, or every member has its count, or none will be let in again.

        Raises:
            WsctlError: there is no server, or it will not have us.
        """
        listeners = [asyncio.ensure_future(self._listen(member)) for member in self._members]
        listening: asyncio.Future[Any] = asyncio.gather(*listeners)
        ending: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(end) for end in (self._enough.wait(), *ends)
        ]
        try:
            done, _ = await asyncio.wait([listening, *ending], return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                end.result()
            return ExitCode.DONE if done - {listening} else ExitCode.ERROR
        finally:
            self._leaving = True
            for end in ending:
                end.cancel()
            await asyncio.gather(*(member.session.close() for member in self._members))
            await asyncio.gather(listening, *listeners, *ending, return_exceptions=True)

    async def prompted(self, prompt: Prompt) -> None:
        """Send what a person types, until the person leaves. What cannot be sent is offered again."""
        while True:
            try:
                text = await prompt.read()
            except EOFError:
                return
            if not text:
                continue
            try:
                await self._members[0].session.send(text)
            except NotConnected:
                self._transcript.note("not sent: there is no connection")
                prompt.put_back(text)

    async def piped(self, lines: AsyncIterator[str], *, stay: bool) -> None:
        """Send each line, once every member is there to hear it. Ends with the input, when the lines have
        come back or had the time to; with `stay`, or without a line, it never does."""
        for member in self._members:
            await member.settled.wait()
        sent = 0
        async for line in lines:
            await self._send_when_open(line)
            sent += 1
        if stay or not sent:
            await asyncio.Event().wait()
        try:
            async with asyncio.timeout(ECHO_TIMEOUT):
                await self._answers_to(sent)
        except TimeoutError:
            self._transcript.note(f"{sent - self._answers} of {sent} messages did not come back")
        if self._refusals:
            raise WsctlError(
                "the server did not take every message, for the reason above: send the rest again"
            )

    async def _send_when_open(self, text: str) -> None:
        member = self._members[0]
        while True:
            await member.open.wait()
            try:
                await member.session.send(text)
            except NotConnected:
                # The event that says so has not been read yet.
                member.open.clear()
            else:
                return

    async def _answers_to(self, sent: int) -> None:
        while self._answers < sent:
            self._answered.clear()
            await self._answered.wait()

    async def _listen(self, member: Member) -> None:
        async with aclosing(member.session.events()) as events:
            async for event in events:
                if not self._leaving:
                    self._take(member, event)
        member.settled.set()

    def _take(self, member: Member, event: Event) -> None:
        match event:
            case Opened():
                self._connected_once = True
                member.open.set()
                member.settled.set()
            case Closed() | Moved() | Failed() | Refused():
                member.open.clear()
            case Received(frame=frame):
                self._note_answer(member, frame)
                if frame.get("type") == "message" and not self._counted(member):
                    return
        fatal = failure(event, connected_once=self._connected_once)
        if fatal is None or self._transcript.complete:
            self._transcript.event(member.client_id, event)
        if fatal:
            raise fatal
        if self._count is not None and all(m.messages >= self._count for m in self._members):
            self._enough.set()

    def _counted(self, member: Member) -> bool:
        """Whether this message is one that was asked for: a member with its count waits for the others."""
        member.messages += 1
        return self._count is None or member.messages <= self._count

    def _note_answer(self, member: Member, frame: dict[str, Any]) -> None:
        """An echo, or the word that there will be none."""
        own = member is self._members[0] and (
            frame.get("type") == "error" or frame.get("from") == member.client_id
        )
        if own:
            self._answers += 1
            self._refusals += frame.get("type") == "error"
            self._answered.set()
