"""The queue between the event loop and the writer thread."""

import threading

import pytest

from tests.support.server import DEADLINE
from wsctl.log.home import Key
from wsctl.log.journal import commit_queue as queue_module
from wsctl.log.journal.commit_queue import CommitQueue, QueuedDraft


def draft(n: int, *, deadline: float = 100.0, size: int = 10) -> QueuedDraft:
    return QueuedDraft(Key("w", n), 1.0, None, b"x" * size, again=False, deadline=deadline)


def keys(drafts: object) -> list[int]:
    assert isinstance(drafts, list)
    return [each.key.n for each in drafts]


@pytest.fixture
def queue() -> CommitQueue:
    queue = CommitQueue()
    queue.enter()
    return queue


def test_all_that_wait_are_taken_at_once(queue: CommitQueue) -> None:
    for n in range(3):
        queue.put(draft(n))
    assert keys(queue.next()) == [0, 1, 2]


def test_many_are_taken_in_several_turns(queue: CommitQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MOST_TOGETHER", 3)
    monkeypatch.setattr(queue_module, "MOST_BYTES_TOGETHER", 100)
    for n in range(4):
        queue.put(draft(n))
    queue.put(draft(4, size=500))
    queue.put(draft(5, size=90))
    queue.put(draft(6, size=90))
    assert [keys(queue.next()) for _ in range(5)] == [[0, 1, 2], [3], [4], [5], [6]]


def test_a_thread_that_waits_is_woken(queue: CommitQueue) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(queue.next()))
    thread.start()
    queue.put(draft(1))
    thread.join(DEADLINE)
    assert keys(found[0]) == [1]


def test_those_whose_time_is_up_are_withdrawn_in_their_order(queue: CommitQueue) -> None:
    for n in range(4):
        queue.put(draft(n, deadline=10.0 + n))
    assert keys(queue.withdraw(11.0)) == [0, 1]
    assert keys(queue.next()) == [2, 3]
    assert queue.withdraw() == [], "what the thread has stays with it"


def test_when_it_is_closed_what_waits_is_taken_first(queue: CommitQueue) -> None:
    queue.put(draft(1))
    queue.close()
    assert keys(queue.next()) == [1]
    assert queue.next() is None


def test_it_can_be_opened_again_as_long_as_the_thread_is_there(queue: CommitQueue) -> None:
    queue.close()
    assert queue.reopen()
    queue.put(draft(1))
    assert keys(queue.next()) == [1]
    queue.close()
    assert queue.next() is None
    assert not queue.reopen()


def test_a_thread_that_failed_does_not_come_back(queue: CommitQueue) -> None:
    queue.leave()
    assert not queue.reopen()


def test_something_else_is_done_before_the_drafts(queue: CommitQueue) -> None:
    queue.put(draft(1))
    queue.ask(print)  # type: ignore[arg-type]
    assert queue.next() is print
    assert keys(queue.next()) == [1]
