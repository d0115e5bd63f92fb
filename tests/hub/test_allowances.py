"""What a client may send is its id's, and where ids are free its address's too."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.connections import RecordedConnection
from tests.support.sizes import examples
from wsctl.hub import allowances
from wsctl.hub.allowances import ADDRESS_FACTOR, Allowances, site
from wsctl.settings import Rate

RATE = Rate(2, 10)


class Clients:
    """Clients that come, send and go, at a moment that is moved."""

    def __init__(self, *, by_address: bool = False, rate: Rate = RATE) -> None:
        self.rate = rate
        self.now = 100.0
        self.allowances = Allowances(rate, by_address=by_address)

    def come(self, client_id: str, address: str = "192.0.2.1:5") -> RecordedConnection:
        connection = RecordedConnection(client_id, opened=self.now)
        connection.address = address
        return connection

    def send(self, connection: RecordedConnection, count: int) -> int:
        """How many of so many are taken."""
        connection.bucket = connection.bucket or self.allowances.of(connection, self.now)
        return sum(connection.bucket.take(self.rate, self.now) for _ in range(count))

    def go(self, connection: RecordedConnection) -> None:
        self.allowances.keep(connection, self.now)

    def visit(self, client_id: str, count: int, address: str = "192.0.2.1:5") -> int:
        connection = self.come(client_id, address)
        taken = self.send(connection, count)
        self.go(connection)
        return taken


def test_who_comes_back_has_what_was_left() -> None:
    clients = Clients()
    assert [clients.visit("bob", 10), clients.visit("bob", 10)] == [10, 0]
    clients.now += 2
    assert clients.visit("bob", 10) == 4
    assert clients.visit("eve", 20) == 10
    clients.now += 5
    assert clients.visit("bob", 20) == 10


def test_what_is_full_again_is_not_kept() -> None:
    clients = Clients()
    for n in range(50):
        clients.visit(str(n), 1)
    assert len(clients.allowances.snapshot(clients.now)["ids"]) == 50
    clients.now += 5
    clients.visit("later", 1)
    assert [row[0] for row in clients.allowances.snapshot(clients.now)["ids"]] == ["later"]
    quiet = clients.come("quiet")
    clients.go(quiet)
    assert len(clients.allowances.snapshot(clients.now)["ids"]) == 1


def test_of_too_many_the_one_that_has_had_most_time_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "MOST_KEPT", 3)
    clients = Clients()
    for name in "abcd":
        clients.visit(name, 10)
    assert [row[0] for row in clients.allowances.snapshot(clients.now)["ids"]] == ["b", "c", "d"]


def test_ids_that_anybody_may_take_share_what_their_address_lends() -> None:
    clients = Clients(by_address=True)
    taken = sum(clients.visit(str(n), 10) for n in range(3 * ADDRESS_FACTOR))
    assert taken == ADDRESS_FACTOR * RATE.burst
    assert clients.visit("elsewhere", 10, "192.0.2.2:5") == 10
    assert sum(Clients().visit(str(n), 10) for n in range(3 * ADDRESS_FACTOR)) == 3000


def test_a_refusal_tells_whether_it_is_the_address() -> None:
    clients = Clients(by_address=True)
    last = clients.come("last")
    for n in range(ADDRESS_FACTOR):
        clients.visit(str(n), 10)
    assert clients.send(last, 1) == 0
    assert last.bucket
    assert last.bucket.lacks_lender
    early = clients.come("early", "192.0.2.2:5")
    assert clients.send(early, 11) == 10
    assert early.bucket
    assert not early.bucket.lacks_lender


def test_who_stays_has_its_rate_whatever_the_address_has_lent() -> None:
    clients = Clients(by_address=True)
    patient = [clients.come(f"patient {n}") for n in range(2 * ADDRESS_FACTOR)]
    clients.now += 5
    for n in range(2 * ADDRESS_FACTOR):
        clients.visit(str(n), 10)
    assert [clients.send(each, 11) for each in patient] == [10] * len(patient)
    clients.now += 0.5
    assert [clients.send(each, 2) for each in patient] == [1] * len(patient)


@examples(50)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 15), st.sampled_from([0, 0.1, 0.7, 3, 6]))),
    st.booleans(),
)
def test_no_coming_and_going_gets_more_than_the_burst_and_the_rate(
    visits: Iterable[tuple[str, int, float]], by_address: bool
) -> None:
    clients, taken = Clients(by_address=by_address), dict.fromkeys("abc", 0)
    for name, count, pause in visits:
        clients.now += pause
        taken[name] += clients.visit(name, count)
        # What is forgotten was full.
        assert taken[name] <= RATE.burst + RATE.per_second * (clients.now - 100.0) + 1e-6


def test_another_process_goes_on_with_it() -> None:
    clients, successor = Clients(by_address=True), Clients(by_address=True)
    staying = clients.come("staying")
    clients.send(staying, 9)
    for n in range(ADDRESS_FACTOR - 2):
        clients.visit(str(n), 10)
    clients.now = successor.now = 100.5
    successor.allowances.take_over(clients.allowances.snapshot(clients.now), successor.now)
    successor.allowances.take_over(clients.allowances.snapshot(clients.now, [staying]), successor.now)
    assert successor.visit("0", 10) == 1
    assert successor.visit("staying", 10) == 2
    # The address had 11 left, and half a second of a hundred bursts.
    assert sum(successor.visit(f"new {n}", 10) for n in range(30)) == 11 + ADDRESS_FACTOR - 1


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.1:5000", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8:1:2::9]:5000", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8::1:2", "2001:db8::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_is_that_of_one_customer(address: str, whose: str) -> None:
    assert site(address) == whose
