"""Messages as the log delivers them, read back."""

from tests.support import frames
from wsctl.frame import Batch
from wsctl.log.history import Entry
from wsctl.log.message_log import MessageLog
from wsctl.messages import Message


def as_message(entry: Entry) -> Message:
    """The message that the one frame of an entry holds."""
    (payload,) = entry.batch.payloads
    frame = frames.read(payload)
    assert frame["type"] == "message"
    assert frame.get("to") == (None if entry.to is None else list(entry.to))
    assert frame.get("topic") == entry.topic
    return Message(frame["id"], frame["ts"], frame["from"], frame["data"], entry.to, topic=entry.topic)


def missed_by(log: MessageLog, since: str, client_id: str, *patterns: str) -> list[Batch] | None:
    """Copies of what a client missed, as batches; None where anything of it is missing."""
    missed, recovered, _ = log.missed(since, client_id, patterns)
    return [batch.copy() for batch in missed] if recovered else None


class Delivered(list[Message]):
    """Everything a log delivered. Each message went to `recipients` clients, says the deliverer."""

    def __init__(self, recipients: int = 0) -> None:
        super().__init__()
        self.recipients = recipients

    def deliver(self, entry: Entry) -> int:
        self.append(as_message(entry))
        return self.recipients
