"""The metrics of a journal. With workers it is their parent's, and they have no label of one."""

from wsctl.server.journal_monitor import JournalMonitor
from wsctl.server.metrics.family import Family, counter, gauge, histogram


def journal_families(monitor: JournalMonitor) -> list[Family]:
    """Return the metrics, as they are in this moment."""
    journal = monitor.state()
    return [
        gauge("wsctl_journal_up", "Whether the journal takes messages.", journal.is_up),
        gauge(
            "wsctl_journal_away_seconds", "For how long it has not.", 0 if journal.is_up else journal.for_s
        ),
        histogram(
            "wsctl_journal_commit_duration_seconds",
            "How long a commit of the journal took.",
            monitor.commits,
        ),
        counter(
            "wsctl_journal_committed_messages_total", "Messages that commits have kept.", monitor.messages
        ),
        gauge("wsctl_journal_waiting_messages", "Messages that wait for their commit.", journal.waiting),
        gauge("wsctl_journal_bytes", "Size of the journal on disk, with its WAL.", journal.bytes),
    ]
