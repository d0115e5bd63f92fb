"""Metrics of a journal."""

from tests.support.fake_journal import FakeJournal
from tests.support.scrapes import Scrape, complaints
from wsctl.log.message_log import MessageLog
from wsctl.server.journal_monitor import JournalMonitor
from wsctl.server.metrics import scrape
from wsctl.server.metrics.journal import journal_families


def seen(monitor: JournalMonitor) -> Scrape:
    text, _ = scrape.encode(journal_families(monitor), "application/openmetrics-text")
    return Scrape(text.decode())


def test_the_numbers_are_those_of_the_journal() -> None:
    now, journal, log = [0.0], FakeJournal(waiting=3, bytes=8192), MessageLog(lambda entry: 0)
    monitor = JournalMonitor(journal, log, lambda: now[0])
    journal.committed(0.004, 7)
    found = seen(monitor)
    assert complaints(found.families) == []
    assert (found("wsctl_journal_up"), found("wsctl_journal_away_seconds")) == (1, 0)
    assert found("wsctl_journal_commit_duration_seconds_bucket", le="0.005") == 1
    assert found("wsctl_journal_commit_duration_seconds_sum") == 0.004
    assert found("wsctl_journal_committed_messages_total") == 7
    assert (found("wsctl_journal_waiting_messages"), found("wsctl_journal_bytes")) == (3, 8192)
    journal.why = "the disk is full"
    log.cut_off(journal.why)
    now[0] = 2.0
    found = seen(monitor)
    assert (found("wsctl_journal_up"), found("wsctl_journal_away_seconds")) == (0, 2)
