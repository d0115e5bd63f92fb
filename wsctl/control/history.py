"""The question for messages that the log keeps, and its answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from wsctl.topics import topic_pattern

MESSAGES_LISTED = 100
"""Messages of an answer unless another limit is asked for."""

MOST_MESSAGES_LISTED = 1_000
"""Messages that an answer has at most."""

MOST_BYTES_LISTED = 1 << 20
"""Bytes of messages that an answer has, unless the first message alone has more: what the event loop
encodes in some milliseconds."""

MOST_PATTERNS = 100
"""Topics that a question may have, as many as a client may subscribe to."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """The first `limit` messages behind the id `since` are wanted, or the newest ones; with `topics`, names
    or patterns, of these alone."""

    topics: tuple[str, ...] = ()
    since: str | None = None
    limit: int = MESSAGES_LISTED

    @property
    def query(self) -> str:
        """The query with which this is asked for."""
        pairs = [("topic", topic) for topic in self.topics]
        pairs += [] if self.since is None else [("since", self.since)]
        return urlencode([*pairs, ("limit", str(self.limit))])


@dataclass(frozen=True, slots=True)
class KeptMessages:
    """Messages that are kept, oldest first."""

    OMITTED: ClassVar = {"recovered", "lost"}

    messages: tuple[Mapping[str, Any], ...] = field(
        metadata={"description": "Frames of the type `message`. Direct messages are not among them."}
    )
    more: bool = field(
        metadata={"description": "Whether there are others behind these: ask with the last id as `since`."}
    )
    newest_id: str = field(metadata={"description": "The id of the newest message of all."})
    recovered: bool | None = field(
        default=None,
        metadata={"description": "With `since`: false if messages behind it are not kept any more."},
    )
    lost: tuple[str, ...] | None = field(
        default=None, metadata={"description": "The topics of which messages are missing, if there are any."}
    )


def read_history_query(target: str) -> HistoryQuery:
    """Return what is asked for with a path and query.

    Raises:
        InvalidTopic: a topic is neither a name nor a pattern.
        ValueError: the limit is none, or there are too many topics.
    """
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    limit = query.get("limit", [str(MESSAGES_LISTED)])[-1]
    if not re.fullmatch(r"[0-9]{1,9}", limit) or not 1 <= int(limit) <= MOST_MESSAGES_LISTED:
        raise ValueError(f"limit: must be a whole number from 1 to {MOST_MESSAGES_LISTED}")
    named = query.get("topic", [])
    if len(named) > MOST_PATTERNS:
        raise ValueError(f"topic: may be there {MOST_PATTERNS} times")
    topics = tuple(dict.fromkeys(map(topic_pattern, named)))
    return HistoryQuery(topics, query.get("since", [None])[-1], int(limit))
