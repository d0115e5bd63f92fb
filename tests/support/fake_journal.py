"""A journal as operators see it, without a file."""

from collections.abc import Callable
from dataclasses import dataclass

from wsctl.log.home import Draft, Home


@dataclass
class FakeJournal:
    """Is what a test says."""

    path: str = "/var/lib/wsctl/log.db"
    sync: str = "full"
    why: str | None = None
    waiting: int = 0
    bytes: int = 4096
    committed: Callable[[float, int], None] = lambda seconds, messages: None


class FakeHome(FakeJournal, Home):
    """The home of a log that has such a journal."""

    def publish(self, draft: Draft) -> None: ...
