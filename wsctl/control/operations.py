"""The operations that operators have: what each takes and answers, how it fails, and what it waits for.

A `ControlService` carries them out, for one process or for several. HTTP, and the channel between a parent
and its workers, only carry requests to it: method, path, and a body that the process parses which does what
is asked.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

from wsctl.client_ids import InvalidClientId
from wsctl.control.disconnecting import PATH, Disconnect, DisconnectResult, read_disconnect
from wsctl.control.encoding import decode, encode
from wsctl.control.history import HistoryQuery, KeptMessages, read_history_query
from wsctl.control.status import PHASE, LoadHistory, ServerStatus, TopicList
from wsctl.drain.progress import DrainProgress, HandoverProgress
from wsctl.settings import LONGEST
from wsctl.topics import InvalidTopic

CONTROL_SOCKET = "control socket"
"""The way in which operators on this machine ask."""

TOPICS_LISTED = 1_000
"""Topics that are listed unless another limit is asked for: what people can look through, in some 100 KB."""

MOST_TOPICS_LISTED = 10_000
"""Topics that an answer has at most: more would hold up the event loop for longer than a broadcast takes."""

NOT_CONNECTED = "not_connected"
"""The code of the error that a client has no connection."""

MAX_KEY = 128
"""Characters of an idempotency key, as many as a topic has."""

MAX_BATCH_LINES = 10_000
"""Lines of a batch: as many keys as are remembered, so that a batch which is sent again is published once."""

MAX_BATCH_BYTES = 8 << 20
"""Bytes of a batch, all of which are kept in memory until it is answered."""

JSON = "application/json"
NDJSON = "application/x-ndjson"
"""The media type of a batch: a JSON object a line."""

T = TypeVar("T")

_FORBID_OTHERS = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """A message to publish."""

    __pydantic_config__: ClassVar = _FORBID_OTHERS

    data: Any = field(metadata={"description": "Any JSON value."})
    to: list[str] | None = field(default=None, metadata={"description": "Everyone when it is not given."})
    topic: str | None = field(
        default=None,
        metadata={"description": "The topic whose subscribers get it; everyone when it is not given."},
    )
    key: str | None = field(
        default=None,
        metadata={
            "description": "The same for a message that is sent again: one that has the key of a message of"
            " the last minutes is not published, and gets the id of that.",
            "min_length": 1,
            "max_length": MAX_KEY,
        },
    )


@dataclass(frozen=True, slots=True)
class Broadcast(PublishRequest):
    """A message to publish, which may show all addressees to each."""

    show_to: bool = field(
        default=False,
        metadata={"description": "Whether each addressee sees all of them; else each sees itself alone."},
    )


@dataclass(frozen=True, slots=True)
class DrainRequest:
    """The time that clients get to leave."""

    __pydantic_config__: ClassVar = _FORBID_OTHERS

    timeout: float | None = field(
        default=None,
        metadata={
            "ge": 0,
            "le": LONGEST,
            "description": "Seconds from now, or from the end of --drain-delay; "
            "--shutdown-timeout if not given.",
        },
    )


@dataclass(frozen=True, slots=True)
class SilentWorker:
    """A worker that did not answer, though it lives: it does what was asked when it goes on."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class Published:
    """The receipt of a message."""

    OMITTED: ClassVar = {"repeated"}

    id: str = field(metadata={"description": "The id the message got."})
    recipients: int = field(metadata={"description": "Connections it was sent to; 0 of a repeated one."})
    repeated: bool | None = field(
        default=None,
        metadata={"description": "True if a message with this key was published before, under this id."},
    )


@dataclass(frozen=True, slots=True)
class PublishedLines:
    """The receipts and errors of a batch, one a line, as JSON: a `Published` or an `ErrorAnswer` each."""

    text: str


@dataclass(frozen=True, slots=True)
class DrainAnswer:
    """A drain as it stands."""

    ABSENT: ClassVar = {"status": "", "drain": None}
    OMITTED: ClassVar = {"silent"}

    status: str = field(metadata=PHASE)
    drain: DrainProgress | None
    silent: tuple[SilentWorker, ...] | None = field(
        default=None, metadata={"description": "Only of all workers together."}
    )


@dataclass(frozen=True, slots=True)
class DrainEnd:
    """The last figures of a drain, and the exit code of the process."""

    drain: DrainProgress | None = field(metadata={"description": "Null when it was cancelled."})
    exit_code: int


@dataclass(frozen=True, slots=True)
class UpgradeAnswer:
    """A handover as it stands, or the last one."""

    upgrade: HandoverProgress | None


@dataclass(frozen=True, slots=True)
class DashboardLink:
    """A link that opens the dashboard once."""

    link: str = field(metadata={"description": "For the address `/dashboard#LINK`."})
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class ErrorText:
    """A reason, in a code for programs and in words."""

    __pydantic_config__: ClassVar = _FORBID_OTHERS

    code: str = field(metadata={"description": "For programs."})
    message: str = field(metadata={"description": "For people."})


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """The body of every error answer."""

    __pydantic_config__: ClassVar = _FORBID_OTHERS

    error: ErrorText


def is_key(text: str) -> bool:
    """Tell whether a text can be an idempotency key."""
    return 0 < len(text) <= MAX_KEY and text.isprintable()


class ControlError(Exception):
    """A request that is not carried out, with the answer that says why."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.answer = ErrorAnswer(ErrorText(code, message))


class ControlRequest(NamedTuple):
    """A request: in which way it was asked `by` somebody, its body, whether it wants the `clients` listed,
    the most topics that it wants listed, whether its body has a message on each of its `lines`, and its
    `target`: path and query."""

    by: str = CONTROL_SOCKET
    body: bytes = b""
    clients: bool = False
    limit: int = TOPICS_LISTED
    lines: bool = False
    target: str = ""


class ControlService(Protocol):
    """Carries out the operations, of one process or of all workers; each raises `ControlError` if it cannot
    be done. `by` says in which way it was asked, for the log."""

    async def status(self, *, clients: bool) -> ServerStatus: ...
    async def topics(self, limit: int) -> TopicList: ...
    async def history(self, wanted: HistoryQuery) -> KeptMessages: ...
    async def load(self) -> LoadHistory: ...
    async def dashboard_link(self) -> DashboardLink: ...
    async def metrics(self) -> Mapping[str, Any]: ...
    async def broadcast(self, body: bytes) -> Published: ...
    async def publish_one(self, body: bytes) -> Published: ...
    async def publish_lines(self, body: bytes) -> PublishedLines: ...
    async def disconnect(self, wanted: Disconnect, by: str) -> DisconnectResult: ...
    async def drain(self, body: bytes, by: str) -> DrainAnswer: ...
    async def cancel_drain(self, by: str) -> DrainAnswer: ...
    async def wait_drained(self) -> DrainEnd: ...
    async def upgrade(self, by: str) -> UpgradeAnswer: ...
    async def wait_upgraded(self) -> UpgradeAnswer: ...


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, for operators alone. `errors` are the statuses with which it may fail, beside those of a
    caller who is no operator; `summary` and `description` are for people."""

    name: str
    method: str
    path: str
    carry_out: Callable[[ControlService, ControlRequest], Awaitable[Any]]
    answer: type | None
    _: KW_ONLY
    summary: str | None = None
    description: str | None = None
    request: type | None = None
    is_body_required: bool = False
    status: HTTPStatus = HTTPStatus.OK
    errors: tuple[int, ...] = ()

    def is_at(self, path: str) -> bool:
        """Tell whether the operation is at this path, whose last segment may stand for anything."""
        before, parameter, _ = self.path.partition("{")
        if not parameter:
            return path == self.path
        return path.startswith(before) and "/" not in path[len(before) :] and len(path) > len(before)

    def target(self, by: str) -> str:
        """Return path and query with which one process asks another."""
        return f"{self.path}?{urlencode({'by': by})}"


STATUS = Operation(
    "status",
    "GET",
    "/api/status",
    lambda service, request: service.status(clients=request.clients),
    ServerStatus,
    summary="Everything `wsctl status` shows",
    errors=(400,),
)

TOPICS = Operation(
    "topics",
    "GET",
    "/api/topics",
    lambda service, request: service.topics(request.limit),
    TopicList,
    summary="The topics that have subscribers or kept messages",
    description="In the order of their names. A subscription with wildcards counts as a subscriber of each"
    " topic that it matches.",
    errors=(400,),
)

HISTORY = Operation(
    "history",
    "GET",
    "/api/history",
    lambda service, request: service.history(_read(read_history_query, request.target)),
    KeptMessages,
    summary="The messages that the log keeps",
    description="The first ones behind `since`, or the newest ones; of some topics where these are named.",
    errors=(400,),
)

LOAD = Operation(
    "load",
    "GET",
    "/api/load",
    lambda service, request: service.load(),
    LoadHistory,
    summary="The load of the last hour",
)

DASHBOARD_LINK = Operation(
    "dashboard",
    "POST",
    "/api/dashboard",
    lambda service, request: service.dashboard_link(),
    DashboardLink,
    description="Make a link to the dashboard, good once and for two minutes, for `/dashboard#LINK`.",
    errors=(409,),
)

METRICS = Operation("own_metrics", "GET", "/api/metrics", lambda service, request: service.metrics(), None)
"""The metrics as workers and their parent tell them; Prometheus asks elsewhere."""

BROADCAST = Operation(
    "broadcast",
    "POST",
    "/api/broadcast",
    lambda service, request: service.broadcast(request.body),
    Published,
    description="Send one message to every client, to the subscribers of a topic, or to some.\n\n"
    "503: the message was not published. 504 `unconfirmed`: it may have been, or may still be.",
    request=Broadcast,
    is_body_required=True,
    errors=(400, 413, 503, 504),
)

PUBLISH = Operation(
    "publish",
    "POST",
    "/api/publish",
    lambda service, request: (
        service.publish_lines(request.body) if request.lines else service.publish_one(request.body)
    ),
    Published,
    summary="Publish a message, or many",
    description="Send a message to every client, to the subscribers of a topic, or to some. A `key` makes it"
    " safe to send it again.\n\n"
    f"As `{NDJSON}` a request has a message a line, up to {MAX_BATCH_LINES} lines and {MAX_BATCH_BYTES >> 20}"
    " MiB, and the answer a receipt or an error a line, in the same order.\n\n"
    "503: the message was not published. 504 `unconfirmed`: it may have been, or may still be.",
    request=PublishRequest,
    is_body_required=True,
    errors=(400, 413, 415, 503, 504),
)

DISCONNECT = Operation(
    "disconnect",
    "DELETE",
    PATH,
    lambda service, request: service.disconnect(_read(read_disconnect, request.target), request.by),
    DisconnectResult,
    description="Close all connections of a client, and answer how many they were; at all workers, and at all"
    " servers of a Redis.\n\nA code from 4000 to 4499 tells the client to connect again, one from 4500 to"
    " 4999 to stay away.",
    errors=(400, 404, 503, 504),
)

DRAIN = Operation(
    "drain",
    "POST",
    "/api/drain",
    lambda service, request: service.drain(request.body, request.by),
    DrainAnswer,
    description="Begin a drain, or move the deadline of the one that runs.",
    request=DrainRequest,
    errors=(400, 409, 413),
)

CANCEL_DRAIN = Operation(
    "cancel",
    "DELETE",
    "/api/drain",
    lambda service, request: service.cancel_drain(request.by),
    DrainAnswer,
    description="Cancel the drain: back to serving.",
    errors=(409,),
)

WAIT_DRAINED = Operation(
    "drained",
    "GET",
    "/api/drain",
    lambda service, request: service.wait_drained(),
    DrainEnd,
    description="Wait until a drain has ended or was cancelled, also one that is still to begin.\n\n"
    "`drain` has its figures, null when it was cancelled.",
)

UPGRADE = Operation(
    "upgrade",
    "POST",
    "/api/upgrade",
    lambda service, request: service.upgrade(request.by),
    UpgradeAnswer,
    description="Start a fresh process and hand over to it, without closing a connection.",
    status=HTTPStatus.ACCEPTED,
    errors=(409,),
)

WAIT_UPGRADED = Operation(
    "upgraded",
    "GET",
    "/api/upgrade",
    lambda service, request: service.wait_upgraded(),
    UpgradeAnswer,
    description="Wait until a handover has ended, also one that is still to begin.",
)

OPERATIONS = (
    STATUS,
    TOPICS,
    HISTORY,
    LOAD,
    DASHBOARD_LINK,
    METRICS,
    BROADCAST,
    PUBLISH,
    DISCONNECT,
    DRAIN,
    CANCEL_DRAIN,
    WAIT_DRAINED,
    UPGRADE,
    WAIT_UPGRADED,
)

PUBLISHING = frozenset({BROADCAST.name, PUBLISH.name})
"""The names of the operations that a publisher may ask for, who may ask for no other one."""

LINES_TARGET = f"{PUBLISH.path}?lines=true"
"""Path and query with which one process asks another to publish a batch."""


def unsupported_media_type() -> ControlError:
    """Return the error of a request to publish something else."""
    text = f"send {JSON}, or {NDJSON} with a message a line"
    return ControlError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text)


def topic_limit(given: str | None) -> int:
    """Return how many topics an answer may have, as the query of a request says.

    Raises:
        ControlError: it is no number, or too large.
    """
    if given is None:
        return TOPICS_LISTED
    if not re.fullmatch(r"[0-9]{1,9}", given) or not 1 <= int(given) <= MOST_TOPICS_LISTED:
        text = f"limit: must be a whole number from 1 to {MOST_TOPICS_LISTED}"
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", text)
    return int(given)


def _read(read: Callable[[str], T], target: str) -> T:
    """Read what is asked for with a path and query.

    Raises:
        ControlError: it cannot be read.
    """
    try:
        return read(target)
    except InvalidClientId as error:
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_client_id", str(error)) from None
    except InvalidTopic as error:
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_topic", f"topic: {error}") from None
    except ValueError as error:
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from None


def no_answer(names: str) -> ControlError:
    """Return the error that workers did not answer, whose `names` these are."""
    text = f"{names} did not answer, and may still do it"
    return ControlError(HTTPStatus.GATEWAY_TIMEOUT, "no_answer", text)


def not_connected(client_id: str) -> ControlError:
    """Return the error that a client has no connection."""
    return ControlError(HTTPStatus.NOT_FOUND, NOT_CONNECTED, f"{client_id} is not connected")


def topics_target(limit: int) -> str:
    """Return path and query with which one process asks another for topics."""
    return f"{TOPICS.path}?limit={limit}"


def find(method: str, path: str) -> Operation:
    """Return the operation with this method and path.

    Raises:
        ControlError: there is none.
    """
    for operation in OPERATIONS:
        if operation.method == method and operation.is_at(path):
            return operation
    raise ControlError(HTTPStatus.NOT_FOUND, "not_found", f"{method} {path}: there is no such thing")


def methods_at(path: str) -> tuple[str, ...]:
    """Return the methods of the operations at a path."""
    return tuple(sorted(each.method for each in OPERATIONS if each.is_at(path)))


def result_of(kind: type[T], status: int, body: Mapping[str, Any]) -> T:
    """Return what another process has answered.

    Raises:
        ControlError: the other process does not do it; the error is the same here.
    """
    if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        return decode(kind, body)
    raise error_of(status, body)


def error_of(status: int, body: Mapping[str, Any]) -> ControlError:
    """Return the error that another process has answered."""
    error = decode(ErrorAnswer, body).error
    return ControlError(HTTPStatus(status), error.code, error.message)


def encode_error(error: ControlError) -> tuple[HTTPStatus, dict[str, Any]]:
    """Return the status and the JSON object with which an error is answered."""
    return error.status, encode(error.answer)


async def answer(
    service: ControlService, method: str, target: str, body: bytes
) -> tuple[HTTPStatus, dict[str, Any]]:
    """Carry out a request, and return the status and the JSON object of its answer. In the query of `target`
    stands in which way it was asked."""
    at = urlsplit(target)
    query = parse_qs(at.query)
    by = query.get("by", [CONTROL_SOCKET])[0]
    try:
        limit = topic_limit(query.get("limit", [None])[0])
        wanted = "clients=true" in at.query, limit, "lines=true" in at.query
        request = ControlRequest(by, body, *wanted, target)
        operation = find(method, at.path)
        return operation.status, encode(await operation.carry_out(service, request))
    except ControlError as error:
        return encode_error(error)
