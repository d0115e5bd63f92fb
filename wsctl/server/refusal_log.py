"""The log of refusals: a line a reason and second, however many they are."""

import logging
from collections import Counter
from collections.abc import Callable

PAUSE = 1.0
"""Seconds between two lines of one reason."""

log = logging.getLogger("wsctl.server")


class RefusalLog:
    """Gathers refusals by their reason, of which there are few. The first of a reason is logged at once,
    those that follow within a second together, with the address of the last one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._pending: Counter[str] = Counter()
        self._last: dict[str, tuple[int, str, dict[str, object]]] = {}

    def note(
        self,
        reason: str,
        address: str,
        *,
        level: int = logging.INFO,
        event: str = "refused",
        **fields: object,
    ) -> None:
        """Log a refusal, or keep it for the next line; `address` is empty where there is none, on a Unix
        socket."""
        self._pending[reason] += 1
        named = {"address": address} if address else {}
        self._last[reason] = level, event, {"reason": reason, **fields, **named}
        self._log(reason, self._clock())

    def check(self, now: float) -> None:
        """Log what has gathered; called once a second."""
        for reason in list(self._pending):
            self._log(reason, now)

    def _log(self, reason: str, now: float) -> None:
        if now - self._logged_at.get(reason, float("-inf")) < PAUSE:
            return
        self._logged_at[reason] = now
        level, event, fields = self._last.pop(reason)
        log.log(level, event, extra={"fields": {**fields, "count": self._pending.pop(reason)}})
