"""The file of a journal with topics: each keeps its newest, and what is missing is known after a restart."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.journals import FLOOR, change, open_journal, row, rows, write_old_journal
from tests.support.sizes import examples
from wsctl.log.history import Entry, History
from wsctl.log.journal import topic_tables
from wsctl.log.journal.errors import UnusableJournal
from wsctl.log.journal.file import JournalFile
from wsctl.log.journal.reader import summarize, verify
from wsctl.log.journal.rows import Row
from wsctl.log.retention import Floors, MessageId, Retention

TOPICS = [None, "a", "b.c", "d"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def kept(file: JournalFile) -> list[MessageId]:
    return [each.id for each in file.behind((0, 0))]


@examples(60)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from([1, 8, 98])), min_size=1, max_size=5),
        max_size=8,
    ),
    st.tuples(st.sampled_from([0, 2, 100]), st.sampled_from([300, 10_000]), st.sampled_from([0.0, 0.006])),
    st.lists(st.booleans(), max_size=8),
)
@example(  # the newest message has gone, and older ones are kept, where it is opened
    commits=[*[[(None, 1)]] * 5, [("a", 1), ("a", 1)], [(None, 98)], [(None, 98)]],
    bounds=(2, 300, 0.0),
    reopened=[False] * 6 + [True],
)
def test_it_keeps_what_the_rule_says_however_often_it_is_opened(
    tmp_path_factory: pytest.TempPathFactory,
    commits: Sequence[Sequence[tuple[str | None, int]]],
    bounds: tuple[int, int, float],
    reopened: list[bool],
) -> None:
    most, most_bytes, ttl = bounds
    path = tmp_path_factory.mktemp("j") / "journal"
    model = Retention[Row](FLOOR, most, most_bytes, ttl)
    numbers, again, given_ids = count(6), iter(reopened), [FLOOR]
    open_it = partial(open_journal, path, most=most, most_bytes=most_bytes, ttl=ttl)
    file = open_it()
    try:
        for commit in commits:
            together = [row(next(numbers), topic=topic, data="x" * size) for topic, size in commit]
            file.append(together, taken=(1 << 40, 0))
            for each in together:
                model.add(each, len(each.frame))
                given_ids.append(each.id)
            model.trim()
            model.expire(together[-1].id[0])
            if next(again, False):
                file.close()
                file = open_it()
            assert file.behind((0, 0)) == list(model)
            assert (len(file), file.bytes) == (len(model), model.bytes)
            assert file.newest == given_ids[-1]
            floors = file.floors()
            for topic in TOPICS:
                assert floors.of(topic) == model.floor_of(topic)
            known = file.known_ids()
            assert known is not None
            since = max(floors.everybody, floors.other)
            assert not model.has_topics or all(each in known for each in given_ids if each >= since)
            assert (99, 0) not in known
        assert list(verify(str(path))) == []
    finally:
        file.close()


def test_what_is_missing_of_each_topic_survives_the_end_of_its_process(path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tests.support.journals import *
file = open_journal(Path({str(path)!r}), most=3)
file.append([row(6, topic="quiet"), row(7)], taken=FLOOR)
for n in range(8, 60):
    file.append([row(n, topic="busy")], taken=(n, 0))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert list(verify(str(path))) == []
    with closing(open_journal(path, most=3)) as file:
        assert kept(file) == [(n, 0) for n in (6, 7, 57, 58, 59)]
        assert file.floors() == Floors(FLOOR, {"busy": (56, 0)}, FLOOR)
        known = file.known_ids()
        assert known is not None
        assert all((n, 0) in known for n in range(6, 60))
        assert file.load((5, 0), (58, 0), 3, 1 << 20).floor == (56, 0)


def test_ids_are_remembered_up_to_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_tables, "MOST_KNOWN", 10)
    with closing(open_journal(path, most=1)) as file:
        for n in range(6, 60):
            file.append([row(n, topic="a" if n == 6 else "b")], taken=(n, 0))
        [(given_rows,)] = file._connection.execute("SELECT count(*) FROM given").fetchall()
        assert given_rows <= 10


def test_what_is_too_old_is_deleted_though_nothing_is_written(path: Path) -> None:
    with closing(open_journal(path, ttl=10.0)) as file:
        file.append([row(6, topic="a"), row(7), row(9000, topic="a")], taken=FLOOR)
        file.expire(10_006, taken=(9000, 0))
        assert kept(file) == [(6, 0), (7, 0), (9000, 0)]
        file.expire(15_000, taken=(6, 0))
        assert kept(file) == [(7, 0), (9000, 0)]
        file.expire(30_000, taken=(9000, 0))
        assert (kept(file), file.newest) == ([], (9000, 0))
    with closing(open_journal(path)) as file:
        assert (kept(file), file.newest) == ([], (9000, 0))
        assert file.floors() == Floors((7, 0), {"a": (9000, 0)}, FLOOR)


class TestOneOfTheReleaseBefore:
    def test_stays_as_it_is_while_there_are_no_topics(self, path: Path) -> None:
        write_old_journal(path, range(6, 10))
        with closing(open_journal(path, most=3)) as file:
            file.append(rows(range(10, 13)), taken=(12, 0))
            assert kept(file) == [(10, 0), (11, 0), (12, 0)]
            assert (file.floor, file.known_ids()) == ((9, 0), None)
        assert (summarize(str(path)).version, list(verify(str(path)))) == (1, [])

    def test_gets_topics_with_the_first_message_that_has_one(self, path: Path) -> None:
        write_old_journal(path, range(6, 10))
        with closing(open_journal(path)) as file:
            file.append([row(10), row(11, topic="a")], taken=(9, 0))
        assert (summarize(str(path)).version, list(verify(str(path)))) == (2, [])
        with closing(open_journal(path)) as file:
            assert [each.topic for each in file.behind((8, 0))] == [None, None, "a"]
            assert file.floors() == Floors(FLOOR, {}, FLOOR)

    def test_goes_back_where_that_cannot_be_written(self, path: Path) -> None:
        write_old_journal(path, range(6, 10))
        with closing(open_journal(path)) as file:
            [(pages,)] = file._connection.execute("PRAGMA page_count").fetchall()
            file._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
            with pytest.raises(UnusableJournal, match="its disk is full"):
                file.append([row(10, topic="a", data="x" * 9000)], taken=FLOOR)
            assert file.version == 1
            file._connection.execute("PRAGMA max_page_count = 1000").fetchall()
            file.append([row(11)], taken=FLOOR)
            assert kept(file)[-1] == (11, 0)
        assert (summarize(str(path)).version, list(verify(str(path)))) == (1, [])

    def test_is_replaced_by_a_history_with_topics(self, path: Path) -> None:
        write_old_journal(path, range(6, 10))
        history = History(FLOOR, 1, 1 << 20)
        for each in (row(20, topic="a"), row(21, topic="b"), row(22, topic="a")):
            history.add(Entry(each.id, each.entry().batch, None, each.topic))
        with closing(open_journal(path)) as file:
            file.replace(history.floors(), [row(21, topic="b"), row(22, topic="a")])
            assert file.floors() == history.floors()
        with closing(open_journal(path)) as file:
            assert (kept(file), file.floors()) == ([(21, 0), (22, 0)], history.floors())


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE message SET topic = 'b' WHERE place = 1", "the message 6-0 has another topic in it: a"),
        ("DELETE FROM message WHERE place = 2", "1 messages are missing between others"),
    ],
)
def test_what_is_wrong_with_topics_is_told(path: Path, statement: str, problem: str) -> None:
    with closing(open_journal(path, most=2)) as file:
        file.append([row(6, topic="a"), row(7)], taken=FLOOR)
        file.append([row(n, topic="b") for n in range(8, 12)], taken=(11, 0))
    assert list(verify(str(path))) == []
    change(path, statement)
    assert list(verify(str(path))) == [problem]
