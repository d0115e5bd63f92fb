"""The first frame that a client gets."""

from typing import Any

from tests.support.connections import RecordedConnection
from tests.support.frames import read
from wsctl.drain.graceful import GracefulShutdownManager
from wsctl.drain.pace import Pace
from wsctl.hub.manager import ConnectionManager
from wsctl.log.message_log import MessageLog
from wsctl.messages import Allowance
from wsctl.server.websocket.welcome import Welcome


class Greeted:
    """A welcome whose facts a test sets."""

    def __init__(self) -> None:
        self.elsewhere = 0
        self.degraded = False
        self.allowance: Allowance | None = None
        manager = ConnectionManager(lambda: 0.0, lambda call: None)
        self.log = MessageLog(manager.deliver, 10, 10_000, lambda: 1000.0)
        self.life = GracefulShutdownManager(Pace(timeout=1.0))
        self.welcome = Welcome(
            manager,
            self.log,
            self.life,
            elsewhere=lambda: self.elsewhere,
            degraded=lambda: self.degraded,
            allowance=lambda client_id: self.allowance,
        )

    def told(self, since: str | None = None, keepalive: int = 0) -> dict[str, Any]:
        bob = RecordedConnection("bob")
        bob.keepalive = keepalive
        return read(self.welcome.greet(bob, since)[0])


def test_it_tells_where_the_log_is_and_of_the_whole_server() -> None:
    greeted = Greeted()
    greeted.elsewhere = 3
    told = greeted.told()
    assert (told["client_id"], told["id"]) == ("bob", greeted.log.newest)
    assert told["server"]["phase"] == "starting"
    assert told["server"]["connections"] == 4  # itself, which is connected as soon as it has this
    assert "recovered" not in told
    assert "keepalive_s" not in told
    greeted.life.started()
    assert greeted.told(keepalive=5)["server"]["phase"] == "serving"
    assert greeted.told(keepalive=5)["keepalive_s"] == 5


def test_it_tells_the_rate_that_the_client_has_to_keep_where_there_is_one() -> None:
    greeted = Greeted()
    assert "rate" not in greeted.told()
    greeted.allowance = Allowance(0.5, 3, 1)
    assert greeted.told()["rate"] == {"per_second": 0.5, "burst": 3, "left": 1}


def test_a_server_that_is_cut_off_says_so() -> None:
    greeted = Greeted()
    assert "degraded" not in greeted.told()["server"]
    greeted.degraded = True
    assert greeted.told()["server"]["degraded"] is True


def test_what_was_missed_comes_with_it_unless_that_cannot_be_told() -> None:
    greeted = Greeted()
    seen = greeted.log.newest
    greeted.log.append("server", "one")
    frame, missed = greeted.welcome.greet(RecordedConnection("bob"), seen)
    assert read(frame)["recovered"] is True
    assert missed is not None
    assert len(missed) == 1
    frame, missed = greeted.welcome.greet(RecordedConnection("bob"), "unknown")
    assert read(frame)["recovered"] is False
    assert not missed


def test_a_client_with_topics_has_what_it_missed_of_them_and_hears_what_is_lost() -> None:
    greeted = Greeted()
    seen = greeted.log.newest
    for topic in ("a.b", "c", None):
        greeted.log.append("server", topic, topic=topic)
    bob = RecordedConnection("bob")
    bob.subscriptions = {"a.*": False}
    frame, missed = greeted.welcome.greet(bob, seen)
    assert read(frame)["recovered"] is True
    assert "lost" not in read(frame)
    assert [read(batch.payloads[0])["data"] for batch in missed or ()] == ["a.b", None]
    frame, missed = greeted.welcome.greet(bob, "unknown")
    assert (read(frame)["recovered"], read(frame)["lost"]) == (False, ["a.*"])
    assert not missed
