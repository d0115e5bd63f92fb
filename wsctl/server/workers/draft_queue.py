"""The drafts of a worker on their way to its parent, which gives them their ids."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from wsctl.log.home import Key, Refusal
from wsctl.log.refusals import (
    AWAY,
    CONFIRM_TIMEOUT,
    FULL,
    LATE,
    MOST_BYTES_WAITING,
    MOST_WAITING,
    UNCONFIRMED,
)

UNANSWERED = 4 << 20
"""Bytes of messages that are sent before the first of them has come back, and at least one message. More than
the parent and the other workers take in a hundredth of a second; what all workers have sent together stays
far below what may wait for one of them, so that no flood makes a worker too slow for the others."""


class _Waiting(NamedTuple):
    key: Key
    fields: dict[str, Any]
    data: bytes
    deadline: float

    @property
    def again(self) -> bool:
        return bool(self.fields["again"])


class DraftQueue:
    """Sends drafts in order, as long as the way is not `blocked`, and refuses those that are not answered in
    time. `refuse` is called with the key of each that is refused, and why. To be used on a running loop."""

    def __init__(
        self,
        send: Callable[[dict[str, Any], bytes], None],
        blocked: Callable[[], bool],
        refuse: Callable[[Key, Refusal], None],
    ) -> None:
        self._send = send
        self._blocked = blocked
        self._refuse = refuse
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._sent: dict[Key, int] = {}
        self._unanswered = 0
        self._due: deque[tuple[float, Key]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._patient_until = 0.0

    @property
    def idle(self) -> bool:
        """True if nothing waits to be sent."""
        return not self._waiting

    def add(self, key: Key, fields: dict[str, Any], data: bytes) -> None:
        """Send a draft, now or when the way is free, in a packet with these fields and bytes."""
        deadline = asyncio.get_running_loop().time() + CONFIRM_TIMEOUT
        waiting = _Waiting(key, fields, data, deadline)
        if len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_BYTES_WAITING:
            self._refuse_unsent(waiting, FULL)
            return
        self._waiting.append(waiting)
        self._bytes += len(data)
        self._due.append((deadline, key))
        self.send_waiting()
        self._watch()

    def send_waiting(self) -> None:
        """Send what waits, as far as the way is free."""
        while self._waiting and self._unanswered < UNANSWERED and not self._blocked():
            waiting = self._waiting.popleft()
            size = len(waiting.data)
            self._bytes -= size
            # One that was passed on before may have been answered already, and then is no more.
            if not waiting.again:
                self._sent[waiting.key] = size
                self._unanswered += size
            self._send(waiting.fields, waiting.data)

    def answered(self, key: Key) -> None:
        """Note that a draft came back, or was refused."""
        self._unanswered -= self._sent.pop(key, 0)
        if self._waiting:
            self.send_waiting()

    def wait_longer(self, seconds: float) -> None:
        """Refuse nothing that is late for so many seconds, and after them what is late then."""
        self._patient_until = asyncio.get_running_loop().time() + seconds

    def drop(self) -> None:
        """Forget all that waits or is not answered: another process goes on with it."""
        self._waiting.clear()
        self._due.clear()
        self._sent.clear()
        self._bytes = self._unanswered = 0

    def refuse_all(self) -> None:
        """Refuse all that waits or is not answered: the parent is gone."""
        for waiting in self._waiting:
            self._refuse_unsent(waiting, AWAY)
        for _, key in self._due:
            self._refuse(key, UNCONFIRMED)
        self.drop()

    def _refuse_unsent(self, waiting: _Waiting, why: Refusal) -> None:
        """Refuse a draft that was not sent, though perhaps by another process before."""
        self._refuse(waiting.key, UNCONFIRMED if waiting.again else why)

    def _watch(self) -> None:
        if self._timer is None and self._due:
            self._timer = asyncio.get_running_loop().call_at(self._due[0][0], self._expire)

    def _expire(self) -> None:
        """Refuse what waited too long; for a draft that was answered meanwhile that has no effect."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        if now < self._patient_until:
            self._timer = asyncio.get_running_loop().call_at(self._patient_until, self._expire)
            return
        while self._waiting and self._waiting[0].deadline <= now:
            late = self._waiting.popleft()
            self._bytes -= len(late.data)
            self._refuse_unsent(late, LATE)
        while self._due and self._due[0][0] <= now:
            self._refuse(self._due.popleft()[1], UNCONFIRMED)
        self._watch()
