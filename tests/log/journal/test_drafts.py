"""The drafts that a journal was given and has not answered."""

from tests.log.journal.test_commit_queue import draft
from wsctl.log.home import Key
from wsctl.log.journal.drafts import DraftsUnderWay
from wsctl.log.refusals import MOST_BYTES_WAITING


def with_deadlines(*deadlines: float) -> DraftsUnderWay:
    drafts = DraftsUnderWay()
    for n, deadline in enumerate(deadlines):
        drafts.add(draft(n, deadline=deadline))
    return drafts


def test_each_is_late_once() -> None:
    drafts = with_deadlines(1.0, 2.0, 3.0)
    assert drafts.next_deadline() == 1.0
    assert drafts.take_overdue(2.0) == [Key("w", 0), Key("w", 1)]
    assert drafts.take_overdue(2.5) == []
    assert drafts.next_deadline() == 3.0
    assert len(drafts) == 3, "they are under way all the same"


def test_one_that_is_answered_is_not_late() -> None:
    drafts = with_deadlines(1.0, 2.0)
    drafts.drop(Key("w", 0))
    assert drafts.take_overdue(5.0) == [Key("w", 1)]
    assert Key("w", 0) not in drafts
    assert drafts.next_deadline() is None


def test_it_remembers_which_came_again() -> None:
    drafts = DraftsUnderWay()
    drafts.add(draft(1)._replace(again=True))
    assert drafts.drop(Key("w", 1))
    assert not drafts.drop(Key("w", 1)), "but not longer than it has them"


def test_their_size_is_bounded() -> None:
    drafts = DraftsUnderWay()
    drafts.add(draft(1, size=MOST_BYTES_WAITING))
    assert drafts.are_too_many
    drafts.drop(Key("w", 1))
    assert not drafts.are_too_many
