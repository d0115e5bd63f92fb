"""The permissions of clients: to which topics each may subscribe and publish, and whether it may address
messages to single clients. They come from its token, or else from the settings of the server."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from wsctl.hub.connection import Connection
from wsctl.settings import EVERY_TOPIC, Settings
from wsctl.topics import InvalidTopic, covers, matches, topic_pattern

CLAIM = "wsctl"
"""The claim of a token that has permissions: an object with `subscribe`, `publish` and `direct`."""

MAX_PATTERNS = 100
"""Patterns of each kind in a token: what one look at them costs is bounded, and a token has 8 KiB."""

_FIELDS = frozenset({"subscribe", "publish", "direct"})


class BadPermissions(ValueError):
    """The error raised for a claim that is malformed. The text says why, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """The permissions of a client.

    Attributes:
        subscribe, publish: patterns of the topics to which it may.
        direct: whether it may address messages to single clients.
    """

    subscribe: tuple[str, ...] = EVERY_TOPIC
    publish: tuple[str, ...] = EVERY_TOPIC
    direct: bool = False

    def may_subscribe(self, pattern: str) -> bool:
        """Tell whether it may subscribe to every topic of a pattern."""
        return any(covers(allowed, pattern) for allowed in self.subscribe)

    def may_publish(self, topic: str | None) -> bool:
        """Tell whether it may publish to a topic; None is a message to everybody, for which every topic must
        be allowed."""
        if EVERY_TOPIC[0] in self.publish:
            return True
        return topic is not None and any(matches(allowed, topic) for allowed in self.publish)


OPEN = Permissions()
"""The permissions of everybody where no setting says otherwise."""


def permissions_of(settings: Settings) -> Permissions:
    """Return the permissions of clients whose credentials have none of their own."""
    return Permissions(settings.client_subscribe, settings.client_publish, settings.client_direct)


def read_permissions(claim: Any) -> "Claimed":
    """Read the claim of a token. What is not in it is as the settings say.

    Raises:
        BadPermissions: it is malformed.
    """
    if not isinstance(claim, dict) or not set(claim) <= _FIELDS:
        raise BadPermissions(f"its claim {CLAIM} is no object of subscribe, publish and direct")
    direct = claim.get("direct")
    if direct is not None and not isinstance(direct, bool):
        raise BadPermissions(f"direct in its claim {CLAIM} is neither true nor false")
    subscribe, publish = (_patterns(claim, name) for name in ("subscribe", "publish"))
    return Claimed(subscribe, publish, direct)


@dataclass(frozen=True, slots=True)
class Claimed:
    """The permissions in a token; what is None is not in it."""

    subscribe: tuple[str, ...] | None = None
    publish: tuple[str, ...] | None = None
    direct: bool | None = None

    def claim(self) -> dict[str, Any]:
        """Return the claim of a token that has these, as `read_permissions` reads it."""
        told = {"subscribe": self.subscribe, "publish": self.publish, "direct": self.direct}
        return {name: value for name, value in told.items() if value is not None}

    def over(self, settings: Permissions) -> Permissions:
        """Return what a client with this token may do at a server with such settings."""
        return Permissions(
            settings.subscribe if self.subscribe is None else self.subscribe,
            settings.publish if self.publish is None else self.publish,
            settings.direct if self.direct is None else self.direct,
        )


NO_CLAIM = Claimed()
"""What a token says that has no permissions."""


def _patterns(claim: dict[str, Any], name: str) -> tuple[str, ...] | None:
    given = claim.get(name)
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise BadPermissions(f"{name} in its claim {CLAIM} is no list of topics")
    if len(given) > MAX_PATTERNS:
        raise BadPermissions(f"{name} in its claim {CLAIM} has more than {MAX_PATTERNS} topics")
    try:
        return tuple(dict.fromkeys(map(topic_pattern, given)))
    except InvalidTopic:
        raise BadPermissions(f"{name} in its claim {CLAIM} has what is no topic") from None


class PermissionTable:
    """The permissions of this process's connections. One whose credentials have none of their own costs
    nothing here: it has those of the `settings`."""

    def __init__(self, default: Permissions = OPEN) -> None:
        self.default = default
        self._own: dict[Connection, Claimed] = {}
        self._open = default.may_publish(None)

    def __len__(self) -> int:
        return len(self._own)

    def set(self, connection: Connection, claimed: Claimed | None) -> None:
        """Note what the credentials of a connection say; None: nothing."""
        if claimed is not None:
            self._own[connection] = claimed
        else:
            self._own.pop(connection, None)

    def claimed(self, connection: Connection) -> Claimed | None:
        """Return what the credentials of a connection say."""
        return self._own.get(connection)

    def of(self, connection: Connection) -> Permissions:
        """Return what a connection may do."""
        claimed = self._own.get(connection) if self._own else None
        return self.default if claimed is None else claimed.over(self.default)

    def may_publish_to_all(self, connection: Connection) -> bool:
        """Tell whether a connection may publish messages without a topic."""
        return self.of(connection).may_publish(None) if self._own else self._open

    def not_allowed(self, connection: Connection, patterns: Collection[str]) -> list[str]:
        """Return those patterns to which a connection may not subscribe."""
        may = self.of(connection)
        if may.subscribe == EVERY_TOPIC:
            return []
        return [pattern for pattern in patterns if not may.may_subscribe(pattern)]

    def forget(self, connection: Connection) -> None:
        """Forget a connection, which has ended or goes on in another process."""
        self._own.pop(connection, None)
