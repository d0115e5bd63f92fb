"""The execution of commands, for clients that speak `wsctl.2`: each is answered by one `ok` or one
`error`."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from wsctl import messages
from wsctl.codes import ErrorCode
from wsctl.hub.connection import Connection
from wsctl.hub.intake import Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.presence import Present, TopicPresence
from wsctl.log.home import Refusal
from wsctl.log.message_log import MessageLog
from wsctl.messages import Ref
from wsctl.server.credentials.expiry import RenewalHandler, RenewalRefused
from wsctl.server.credentials.permissions import PermissionTable
from wsctl.server.websocket.admission import may_not_subscribe, too_many
from wsctl.server.websocket.commands import (
    NAMES,
    Command,
    PresenceQuery,
    Publish,
    Renew,
    Subscribe,
    Unsubscribe,
    WrongCommand,
    read_command,
)
from wsctl.server.websocket.hook_calls import HookCalls
from wsctl.server.websocket.hooks import Incoming

UNKNOWN = "unknown"
"""Stands for all texts that are no command, where commands are counted."""

MAX_REPLAYS = 4
"""Subscriptions with `since` whose missed messages have not all been sent: each holds on to messages that the
history may have let go of."""

EXPANSION = 5
"""The most by which data can grow when they are written anew: `1e15,` becomes `1000000000000000.0,`."""


class CommandLimits(NamedTuple):
    """The limits of commands: subscriptions of a connection, and bytes of data; 0 lifts either."""

    subscriptions: int
    message_size: int


class CommandHandler:
    """Executes the commands of clients. `hooks` are those of an application, where there is one."""

    def __init__(
        self,
        *,
        limits: CommandLimits,
        intake: Intake,
        manager: ConnectionManager,
        log: MessageLog,
        permissions: PermissionTable,
        renewal: RenewalHandler,
        presence: TopicPresence,
        hooks: HookCalls | None = None,
    ) -> None:
        self._limits = limits
        self._intake = intake
        self._manager = manager
        self._log = log
        self._permissions = permissions
        self._renewal = renewal
        self._presence = presence
        self._hooks = hooks

    def handle(self, connection: Connection, text: str) -> None:
        """Execute the command in a client's text, or tell the client why not."""
        excess = self._intake.excess(connection)
        if connection.end_reason is not None:
            return
        command = read_command(text)
        kind = UNKNOWN if isinstance(command, WrongCommand) else NAMES[type(command)]
        self._intake.commands[kind] += 1
        if excess is not None:
            self._refuse(
                connection, command.ref, ErrorCode.RATE_LIMITED, f"{excess}: this was not carried out"
            )
        elif isinstance(command, WrongCommand):
            self._refuse(connection, *command)
        else:
            self._execute(connection, command, text)

    def enforce(self, connection: Connection) -> None:
        """End the subscriptions that a connection may not have any more, and tell its client which."""
        ended = self._permissions.not_allowed(connection, connection.subscriptions)
        if ended:
            self._manager.unsubscribe(connection, ended)
            text = "your new credentials do not allow these subscriptions: they have ended"
            self._intake.note_refusal(ErrorCode.TOPIC_NOT_ALLOWED)
            self._manager.send_to(
                [connection], messages.error(ErrorCode.TOPIC_NOT_ALLOWED, text, topics=ended)
            )

    def _execute(self, connection: Connection, command: Command, text: str) -> None:
        match command:
            case Publish():
                self._publish(connection, command, len(text))
            case Subscribe():
                self._subscribe(connection, command)
            case Unsubscribe():
                self._in_turn(connection, command.ref, partial(self._unsubscribe, connection, command))
            case PresenceQuery():
                self._in_turn(connection, command.ref, partial(self._tell_presence, connection, command))
            case Renew():
                self._in_turn(connection, command.ref, partial(self._renew, connection, command))

    # publish

    def _publish(self, connection: Connection, command: Publish, size: int) -> None:
        may = self._permissions.of(connection)
        if not may.may_publish(command.topic):
            self._refuse(connection, command.ref, *self._intake.publish_refusal(command.topic))
        elif command.to is not None and not may.direct:
            text = "you may not send messages to single clients: --client-direct allows it, or a token"
            self._refuse(connection, command.ref, ErrorCode.DIRECT_NOT_ALLOWED, text)
        elif self._is_too_big(command.data, size):
            text = f"a message may have {self._limits.message_size} bytes"
            self._refuse(connection, command.ref, ErrorCode.BAD_COMMAND, text)
        elif self._hooks and (hook := self._hooks.hooks.on_message):
            incoming = Incoming(command.data, command.topic, command.key)
            done, refused = (
                partial(self._append_result, connection, command),
                self._refused(connection, command),
            )
            self._hooks.ask(connection, hook, incoming, done, refused)
        else:
            self._in_turn(connection, command.ref, partial(self._append, connection, command, command.data))

    def _append_result(self, connection: Connection, command: Publish, data: Any) -> None:
        """Publish what a hook has made of a message; with None it is published by nobody."""
        if data is None:
            self._answer(connection, command.ref)
        else:
            self._intake.received += 1
            self._append_data(connection, command, data)

    def _append(self, connection: Connection, command: Publish, data: Any) -> None:
        self._intake.received += 1
        try:
            self._append_data(connection, command, data)
        except ValueError:
            text = "data has a number that is too large"
            self._refuse(connection, command.ref, ErrorCode.BAD_COMMAND, text)

    def _append_data(self, connection: Connection, command: Publish, data: Any) -> None:
        """Publish data; the answer comes with the receipt.

        Raises:
            ValueError: they are not JSON.
        """
        ref = command.ref
        is_answered = is_counted = False

        def answered() -> None:
            nonlocal is_answered
            is_answered = True
            if is_counted:
                awaiting = self._intake.awaiting
                awaiting[connection] -= 1
                if not awaiting[connection]:
                    del awaiting[connection]

        def receipt(message_id: str, recipients: int) -> None:
            answered()
            if connection.end_reason is None:
                self._manager.send_to([connection], messages.published(ref, message_id))

        def refused(why: Refusal) -> None:
            answered()
            self._refuse(connection, ref, *why)

        def repeated(first_id: str) -> None:
            answered()
            self._answer(connection, ref, id=first_id, repeated=True)

        self._log.append(
            connection.client_id,
            data,
            command.to,
            receipt,
            refused=refused,
            topic=command.topic,
            idempotency_key=command.key,
            repeated=repeated,
            traceparent=command.traceparent,
        )
        if not is_answered:  # most are at once
            is_counted = True
            self._intake.awaiting[connection] += 1

    def _is_too_big(self, data: Any, size: int) -> bool:
        limit = self._limits.message_size
        if not limit or size * EXPANSION <= limit:
            return False  # most: without writing the data twice
        try:
            return len(messages.encode({"data": data})) > limit + len('{"data":}')
        except ValueError:
            return False

    # subscribe, unsubscribe

    def _subscribe(self, connection: Connection, command: Subscribe) -> None:
        if refused := self._permissions.not_allowed(connection, command.topics):
            text = may_not_subscribe(refused[0])
            self._refuse(connection, command.ref, ErrorCode.TOPIC_NOT_ALLOWED, text)
            return
        done = partial(self._subscribe_now, connection, command)
        if self._hooks is None:
            done()
            return
        new = [topic for topic in command.topics if topic not in connection.subscriptions]
        self._hooks.subscribe(connection, new, lambda _: done(), self._refused(connection, command))

    def _subscribe_now(self, connection: Connection, command: Subscribe) -> None:
        """Subscribe a client, and send what it missed behind the answer."""
        if not self._manager.is_active(connection):
            return
        before = connection.subscriptions
        most, wanted = self._limits.subscriptions, len(before.keys() | set(command.topics))
        if most and wanted > most and wanted > len(before):
            self._refuse(connection, command.ref, ErrorCode.TOO_MANY_SUBSCRIPTIONS, too_many(most))
        elif command.since is not None and connection.replays >= MAX_REPLAYS:
            text = "what you missed of earlier subscriptions is still being sent: ask again later"
            self._refuse(connection, command.ref, ErrorCode.RATE_LIMITED, text)
        else:
            self._manager.subscribe(connection, _told(command, before))
            self._resume(connection, command, before)

    def _resume(self, connection: Connection, command: Subscribe, before: Mapping[str, bool]) -> None:
        """Answer a client that has subscribed, and send what it missed: live messages are behind that."""
        if command.since is None:
            self._answer(connection, command.ref, id=self._log.newest)
            return
        found = self._log.missed(command.since, connection.client_id, command.topics, beside=before)
        recovered, lost = found.recovered, list(found.lost) or None
        self._answer(connection, command.ref, id=self._log.newest, recovered=recovered, lost=lost)
        if found.missed:
            self._manager.flush()
            connection.catch_up(found.missed)

    def _unsubscribe(self, connection: Connection, command: Unsubscribe) -> None:
        self._manager.unsubscribe(connection, command.topics)
        self._answer(connection, command.ref)

    # presence, renew

    def _tell_presence(self, connection: Connection, command: PresenceQuery) -> None:
        if self._permissions.not_allowed(connection, [command.topic]):
            text = may_not_subscribe(command.topic)
            self._refuse(connection, command.ref, ErrorCode.TOPIC_NOT_ALLOWED, text)
            return

        def answer(found: Present) -> None:
            clients = [{"client_id": name, "connections": count} for name, count in found.clients]
            self._answer(connection, command.ref, count=found.count, clients=clients)

        self._presence.of(command.topic, answer)

    def _renew(self, connection: Connection, command: Renew) -> None:
        try:
            seconds = self._renewal.renew(connection, command.token)
        except RenewalRefused as error:
            self._refuse(connection, command.ref, ErrorCode.RENEWAL_REFUSED, str(error))
            return
        self._answer(connection, command.ref, expires_in_s=round(seconds, 3))
        self.enforce(connection)

    # What all have in common

    def _in_turn(self, connection: Connection, ref: Ref | None, call: Callable[[], None]) -> None:
        """Do what a command asks for, behind the hooks for what came before it."""
        if self._hooks is None:
            call()
        else:
            self._hooks.in_turn(connection, call, partial(self._refuse, connection, ref))

    def _refused(self, connection: Connection, command: Command) -> Callable[[str, str], None]:
        return partial(self._refuse, connection, command.ref)

    def _refuse(self, connection: Connection, ref: Ref | None, code: str, text: str) -> None:
        if connection.end_reason is None:
            self._intake.note_refusal(code)
            self._manager.send_to([connection], messages.error(code, text, ref))

    def _answer(self, connection: Connection, ref: Ref | None, **fields: Any) -> None:
        """Send the answer behind what was published before it."""
        if connection.end_reason is None:
            self._manager.send_to([connection], messages.ok(ref, **fields))


def _told(command: Subscribe, before: Mapping[str, bool]) -> dict[str, bool]:
    """Return the patterns of a command, and of each whether its client wants to know who comes and goes."""
    topics: Iterable[str] = command.topics
    if command.events is not None:
        return dict.fromkeys(topics, command.events)
    return {topic: before.get(topic, False) for topic in topics}
