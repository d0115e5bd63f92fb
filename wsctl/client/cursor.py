"""The position of a client in the one order of all messages."""

from typing import Any
from urllib.parse import quote


class Cursor:
    """The id of the last message that a client knows of. Ids are opaque: only a server compares them.

    Attributes:
        at: the id; None before the first welcome.
    """

    def __init__(self) -> None:
        self.at: str | None = None

    def url(self, url: str) -> str:
        """Return the URL that asks for everything behind the cursor, too."""
        return url if self.at is None else f"{url}?since={quote(self.at, safe='')}"

    def welcome(self, frame: dict[str, Any]) -> None:
        """Take a `welcome`: a connection begins, or its server is whole again. When all that was missed
        follows, the cursor stays before it; else that is lost, and the cursor goes to the newest message."""
        if frame.get("recovered") is not True:
            self._move(frame)

    def message(self, frame: dict[str, Any]) -> None:
        """Take a message. Messages come in order, so that it is the last one."""
        self._move(frame)

    def _move(self, frame: dict[str, Any]) -> None:
        at = frame.get("id")
        if isinstance(at, str):
            self.at = at
