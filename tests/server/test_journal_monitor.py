"""A journal as its server tells of it."""

import os

from tests.support.fake_journal import FakeHome, FakeJournal
from wsctl.control.status import JournalState
from wsctl.log.message_log import MessageLog
from wsctl.server.journal_monitor import JournalMonitor, monitor_journal


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.journal = FakeJournal(waiting=3)
        self.log = MessageLog(lambda entry: 0)
        self.monitor = JournalMonitor(self.journal, self.log, lambda: self.now)


def test_the_state_is_that_of_the_journal_since_it_changed() -> None:
    world = World()
    world.now += 5
    up = JournalState("/var/lib/wsctl/log.db", "full", "up", 5.0, None, 4096, 3)
    assert world.monitor.state() == up
    world.journal.why = "the disk is full"
    world.log.cut_off("the disk is full")
    world.now += 2
    state = world.monitor.state()
    assert (state.state, state.for_s, state.why, state.is_up) == ("away", 2.0, "the disk is full", False)
    world.journal.why = None
    world.log.back(recovered=True)
    world.now += 1
    assert (world.monitor.state().state, world.monitor.state().for_s) == ("up", 1.0)


def test_commits_are_counted_with_their_time_and_their_messages() -> None:
    world = World()
    world.journal.committed(0.002, 7)
    world.journal.committed(0.2, 1)
    assert (sum(world.monitor.commits.counts), world.monitor.messages) == (2, 8)
    assert round(world.monitor.commits.total, 3) == 0.202


def test_only_a_journal_is_watched() -> None:
    log = MessageLog(lambda entry: 0)
    assert monitor_journal(log, lambda: 0.0) is None
    log.home = FakeHome()
    monitor = monitor_journal(log, lambda: 0.0)
    assert monitor is not None
    assert monitor.state().path == "/var/lib/wsctl/log.db"


def test_the_path_is_whole_and_the_reason_does_not_repeat_it() -> None:
    journal = FakeJournal(path="log.db", why="the journal log.db: its disk is full")
    state = JournalMonitor(journal, MessageLog(lambda entry: 0), lambda: 0.0).state()
    assert (state.path, state.why) == (f"{os.getcwd()}/log.db", "its disk is full")
