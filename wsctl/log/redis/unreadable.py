"""The keys and entries in Redis that cannot be read: each is skipped, counted, and the first of a kind
logged."""

import logging

MOST_KNOWN = 1000
"""Unreadable things that are remembered, so that one which is read every second is counted once."""

MOST_SHOWN = 100
"""Characters of a name that is logged: whoever writes to Redis chooses it."""

log = logging.getLogger("wsctl.shared")


class Unreadable:
    """The count of what was skipped.

    Attributes:
        count: how many there were since the start.
    """

    def __init__(self) -> None:
        self.count = 0
        self._known: dict[tuple[str, str], None] = {}
        self._told: set[str] = set()

    def note(self, what: str, which: str, why: str) -> None:
        """Skip something of the kind `what`; `which` tells it from others. The first of a kind is logged."""
        if (what, which) in self._known:
            return
        self._known[what, which] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self.count += 1
        if what not in self._told:
            self._told.add(what)
            fields = {"what": what, "which": _shown(which), "why": _shown(why)}
            log.warning("something in Redis cannot be read: it is skipped", extra={"fields": fields})


def _shown(text: str) -> str:
    return text[:MOST_SHOWN] if text.isprintable() else ascii(text[:MOST_SHOWN])
