"""What backends publish, one message a request or many: it is read, checked, and given to the log."""

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from json import dumps
from typing import Any, TypeVar

from wsctl import client_ids, messages
from wsctl.codes import ErrorCode
from wsctl.control.encoding import encode
from wsctl.control.operations import (
    MAX_BATCH_BYTES,
    MAX_BATCH_LINES,
    MAX_KEY,
    Broadcast,
    ControlError,
    Published,
    PublishedLines,
    PublishRequest,
    is_key,
)
from wsctl.log.home import Receipt, Refusal, Refused, Repeated
from wsctl.log.message_log import MessageLog
from wsctl.server.batch_window import BatchWindow
from wsctl.topics import InvalidTopic, topic_name

BODY_ALLOWANCE = 64 * 1024
"""Bytes that a request body, or a line of a batch, may have beyond its message, for the addressees."""

GROWTH = 5
"""The most that JSON becomes longer when it is read and written again: 1e15 is 1000000000000000.0."""

_UNPUBLISHED = {
    ErrorCode.DEGRADED: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.UNCONFIRMED: HTTPStatus.GATEWAY_TIMEOUT,
}
"""The status of an answer that a message was refused: 503 promises that it was not published, 504 promises
nothing."""

R = TypeVar("R")

_Reader = tuple[Callable[[bytes], Any], type[Exception]]
_READERS: dict[type, _Reader] = {}
"""What reads bodies, by their kind, and the error that it raises."""


class MessagePublisher:
    """Publishes messages in the server's name. A message may have `max_message_size` bytes, 0 for no limit;
    `is_open` tells whether messages are still taken, `window` how many lines of batches at a time."""

    def __init__(
        self,
        log: MessageLog,
        max_message_size: int,
        is_open: Callable[[], bool],
        window: BatchWindow | None = None,
    ) -> None:
        self._log = log
        self._limit = max_message_size
        self.is_open = is_open
        self.window = window or BatchWindow()

    @property
    def body_limit(self) -> int:
        """The bytes that a body with one message may have; 0 for no limit."""
        return self._limit and self._limit + BODY_ALLOWANCE

    @property
    def is_traced(self) -> bool:
        """True if what is published is traced."""
        return self._log.tracing is not None

    @property
    def batch_limit(self) -> int:
        """The bytes that a batch may have: one message of the largest size always fits."""
        return max(MAX_BATCH_BYTES, self.body_limit)

    async def publish(self, wanted: PublishRequest) -> Published:
        """Publish a message, and wait until the log has taken it.

        Raises:
            ControlError: it is not published, or may not be.
        """
        answered: asyncio.Future[Published | ControlError] = asyncio.get_running_loop().create_future()

        def note(answer: Published | ControlError) -> None:
            if not answered.done():  # the caller may have hung up
                answered.set_result(answer)

        def repeated(message_id: str) -> None:
            note(Published(message_id, 0, repeated=True))

        self.submit(
            wanted,
            lambda message_id, recipients: note(Published(message_id, recipients)),
            repeated,
            lambda why: note(unpublished(why)),
        )
        answer = await answered
        if isinstance(answer, ControlError):
            raise answer
        return answer

    def submit(
        self,
        wanted: PublishRequest,
        receipt: Receipt,
        repeated: Repeated,
        refused: Refused,
        *,
        size: int | None = None,
    ) -> None:
        """Publish a message; one of the functions is called, once, maybe before this returns. `size` is the
        length of the JSON that it was read from, if it was.

        Raises:
            ControlError: it may not be published, and none is called.
        """
        to = None if wanted.to is None else _addressees(wanted.to)
        topic = None if wanted.topic is None else _topic(wanted.topic)
        if wanted.key is not None:
            _check_key(wanted.key)
        if self._limit and (size is None or size * GROWTH > self._limit):
            self._check_size(wanted.data)
        if not self.is_open():
            raise closing()
        try:
            self._log.append(
                client_ids.SERVER,
                wanted.data,
                to,
                receipt,
                refused=refused,
                repeated=repeated,
                shown=isinstance(wanted, Broadcast) and wanted.show_to,
                topic=topic,
                idempotency_key=wanted.key,
            )
        except ValueError:
            raise _not_json() from None

    async def publish_lines(self, body: bytes) -> PublishedLines:
        """Publish the message on each line of a body, and wait until the log has taken or refused all.

        Raises:
            ControlError: nothing is published, since there are too many lines or bytes, or the server closes.
        """
        await wait_for_reader(PublishRequest)
        batch = self.open_batch(body)
        await batch.finish()
        return PublishedLines(batch.text())

    def open_batch(self, body: bytes) -> "LineBatch":
        """Return a batch, of which nothing is published yet.

        Raises:
            ControlError: it has too many lines or bytes, or the server closes its clients.
        """
        if len(body) > self.batch_limit:
            raise too_big(f"a body may have {self.batch_limit} bytes: send the rest in another request")
        if body.count(b"\n") + (not body.endswith(b"\n")) > MAX_BATCH_LINES:
            raise too_big(f"a batch may have {MAX_BATCH_LINES} lines: send the rest in another request")
        if not self.is_open():
            raise closing()
        return LineBatch(self, body)

    def _check_size(self, data: Any) -> None:
        """Check that the data can be sent, and are not too large."""
        try:
            size = len(messages.encode({"data": data}))
        except ValueError:
            raise _not_json() from None
        if size > self._limit + len('{"data":}'):
            raise too_big(f"a message may have {self._limit} bytes")


class LineBatch:
    """The lines of one request, and what became of each.

    Attributes:
        unanswered: lines that were given to the log, which has not said what became of them.
    """

    def __init__(self, publisher: MessagePublisher, body: bytes) -> None:
        self._publisher = publisher
        self._window = publisher.window
        self._lines = body.split(b"\n")
        if not self._lines[-1]:
            self._lines.pop()
        self._answers = [""] * len(self._lines)
        self._next = 0
        self.unanswered = 0
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_submitted(self) -> bool:
        """True if each line was given to the log, or refused."""
        return self._next == len(self._lines)

    def begin(self) -> None:
        """Give the first lines to the log at once, unless other batches wait."""
        if self._window.is_free:
            self.submit(self._window.together)

    def submit(self, count: int) -> None:
        """Give so many more lines to the log, as far as there are any."""
        lines, limit, before = self._lines, self._publisher.body_limit, self._next
        began = self._window.now()
        try:
            for at in range(before, min(before + count, len(lines))):
                line = lines[at]
                self.unanswered += 1
                try:
                    if limit and len(line) > limit:
                        raise too_big(f"a line may have {limit} bytes")
                    self._publisher.submit(
                        parse(PublishRequest, line),
                        partial(self._note_receipt, at),
                        partial(self._note_repeated, at),
                        partial(self._note_refusal, at),
                        size=len(line),
                    )
                except ControlError as error:
                    self._note(at, error_json(error))
                self._next = at + 1
        finally:
            self._window.give(self._next - before, began)

    async def finish(self) -> None:
        """Give all lines that are left to the log, as groups, in turn with other batches, and wait until all
        have their answer."""
        while not self.is_submitted:
            async with self._window.turn() as count:
                self.submit(count if self._publisher.is_open() else len(self._lines))
            await asyncio.sleep(0)
        await self.wait()

    async def wait(self) -> None:
        """Wait until the log has said what became of all lines that it was given."""
        if self.unanswered:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    def text(self) -> str:
        """Return the receipts and errors of all lines, each on one."""
        return "\n".join([*self._answers, ""])

    def _note_receipt(self, at: int, message_id: str, recipients: int) -> None:
        self._note(at, receipt_json(message_id, recipients))

    def _note_repeated(self, at: int, message_id: str) -> None:
        self._note(at, repeated_json(message_id))

    def _note_refusal(self, at: int, why: Refusal) -> None:
        self._note(at, error_json(unpublished(why)))

    def _note(self, at: int, answer: str) -> None:
        self._answers[at] = answer
        self.unanswered -= 1
        self._window.answered()
        if not self.unanswered and self._waiting and not self._waiting.done():
            self._waiting.set_result(None)


def receipt_json(message_id: str, recipients: int) -> str:
    """Return a receipt as JSON, as the encoder writes it, which takes four times as long."""
    return f'{{"id":"{message_id}","recipients":{recipients}}}'


def repeated_json(message_id: str) -> str:
    """Return the receipt of a repeated message, as `receipt_json` does."""
    return f'{{"id":"{message_id}","recipients":0,"repeated":true}}'


def error_json(error: ControlError) -> str:
    """Return an error as JSON, as the framework writes it."""
    return dumps(encode(error.answer), ensure_ascii=False, separators=(",", ":"))


def unpublished(why: Refusal) -> ControlError:
    """Return the error of a message that the log refused."""
    return ControlError(_UNPUBLISHED[why.code], why.code, why.text)


def closing() -> ControlError:
    """Return the error of a server that takes no messages any more."""
    return ControlError(HTTPStatus.SERVICE_UNAVAILABLE, "closing", "the server is closing its clients")


def too_big(text: str) -> ControlError:
    return ControlError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_big", text)


async def read(kind: type[R], body: bytes) -> R:
    """Read the body of a request, as `parse` does, also where it may be the first one.

    Raises:
        ControlError: it is another one.
    """
    await wait_for_reader(kind)
    return parse(kind, body)


async def wait_for_reader(kind: type) -> None:
    """Wait until bodies of this kind can be read. For the first one pydantic is imported, in a thread: that
    would stop the event loop for a quarter of a second."""
    if not can_read(kind):
        await asyncio.to_thread(make_reader, kind)


def parse(kind: type[R], body: bytes) -> R:
    """Read the body of a request, where another one was read before.

    Raises:
        ControlError: it is another one.
    """
    read_json, invalid = _READERS[kind]
    try:
        found: R = read_json(body)
    except invalid as error:
        raise _invalid(error) from None
    return found


def _invalid(error: Any) -> ControlError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    is_unknown = first["type"] == "unexpected_keyword_argument"
    text = "Extra inputs are not permitted" if is_unknown else first["msg"]
    where = ".".join(str(part) for part in first["loc"])
    return ControlError(HTTPStatus.BAD_REQUEST, "bad_request", f"{where}: {text}" if where else text)


def can_read(kind: type) -> bool:
    """Tell whether bodies of this kind can be read: for the first one, what does it is imported and made."""
    return kind in _READERS


def make_reader(kind: type) -> None:
    """Make what reads a kind of body; only when there is one, for a start needs none of it. It takes what the
    schema of the body says and no more: else "5" would be a number, and 0 would be false."""
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    _READERS[kind] = partial(adapter.validator.validate_json, strict=True), ValidationError


def _not_json() -> ControlError:
    text = "data: it has a NaN or an infinity, which JSON does not have"
    return ControlError(HTTPStatus.BAD_REQUEST, "bad_request", text)


def _addressees(to: Any) -> Any:
    try:
        return client_ids.recipients(to)
    except client_ids.InvalidClientId as error:
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from None


def _topic(topic: str) -> str:
    try:
        return topic_name(topic)
    except InvalidTopic as error:
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_topic", f"topic: {error}") from None


def _check_key(key: str) -> None:
    if not is_key(key):
        text = f"key: has 1 to {MAX_KEY} characters that can be seen"
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", text)
