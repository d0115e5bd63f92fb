"""Who should have received what, and who did."""

import tracemalloc
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from wsctl.stress.ledger import Ledger, Ranges

CLIENTS = 3
SOMEBODY = st.integers(0, CLIENTS - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), SOMEBODY, st.just(0)),
        st.tuples(st.just("receive"), SOMEBODY, st.integers(0, 20)),
        st.tuples(st.just("disconnect"), SOMEBODY, st.just(0)),
        st.tuples(st.just("refuse"), SOMEBODY, st.integers(0, 1)),
        st.tuples(st.just("accept"), SOMEBODY, st.integers(0, 1)),
    ),
    max_size=80,
)


@dataclass
class Model:
    """The same account, with everything remembered and nothing clever."""

    senders: list[int] = field(default_factory=list)
    owed: list[bool] = field(default_factory=list)
    refused: set[tuple[int, str]] = field(default_factory=set)
    received: list[list[int]] = field(default_factory=lambda: [[] for _ in range(CLIENTS)])
    first_seen: list[int] = field(default_factory=list)
    duplicated: int = 0
    out_of_order: int = 0

    def send(self, sender: int) -> None:
        self.senders.append(sender)
        self.owed.append(not any(client == sender for client, _ in self.refused))

    def receive(self, client: int, number: int) -> None:
        had = self.received[client]
        if number in had:
            self.duplicated += 1
            return
        if number not in self.first_seen:
            self.first_seen.append(number)
        overtaken = any(n > number and self.senders[n] == self.senders[number] for n in had)
        place = self.first_seen.index(number)
        self.out_of_order += overtaken or any(self.first_seen.index(n) > place for n in had)
        had.append(number)

    def disconnect(self, client: int) -> None:
        self.owed = [owed and self.senders[n] != client for n, owed in enumerate(self.owed)]

    def refuse(self, client: int, reason: str) -> None:
        self.refused.add((client, reason))
        self.disconnect(client)

    def accept(self, client: int, reason: str) -> None:
        self.refused.discard((client, reason))

    def due(self) -> list[int]:
        seen = {n for had in self.received for n in had}
        return [n for n, owed in enumerate(self.owed) if owed or n in seen]

    def missed(self, below: int) -> int:
        return sum(n not in had for had in self.received for n in self.due() if n < below)


def played(steps: list[tuple[str, int, int]]) -> tuple[Ledger, Model]:
    ledger, model = Ledger(CLIENTS), Model()
    for what, client, back in steps:
        if what in ("refuse", "accept"):
            for account in (ledger, model):
                getattr(account, what)(client, f"reason {back}")
        elif what == "receive":
            if back < ledger.sent:
                number = ledger.sent - 1 - back
                ledger.receive(client, number)
                model.receive(client, number)
        else:
            getattr(ledger, what)(client)
            getattr(model, what)(client)
    return ledger, model


@given(STEPS, st.integers(0, 80))
def test_it_counts_as_a_ledger_that_remembers_everything(
    steps: list[tuple[str, int, int]], below: int
) -> None:
    ledger, model = played(steps)
    assert ledger.sent == len(model.senders)
    assert ledger.delivered == sum(len(had) for had in model.received)
    assert ledger.duplicated == model.duplicated
    assert ledger.out_of_order == model.out_of_order
    assert ledger.expected == len(model.due()) * CLIENTS
    assert ledger.unconfirmed == ledger.sent - len(model.due())
    assert ledger.missed == model.missed(ledger.sent)
    assert ledger.missed_below(below) == model.missed(below)


def test_what_one_client_received_is_due_to_all() -> None:
    ledger = Ledger(3)
    ledger.receive(1, ledger.send(0))
    ledger.disconnect(0)
    assert (ledger.expected, ledger.delivered, ledger.missed) == (3, 1, 2)


def test_a_message_that_vanished_on_a_living_connection_was_missed_by_all() -> None:
    ledger = Ledger(3)
    ledger.send(0)
    assert (ledger.missed, ledger.unconfirmed) == (3, 0)


def test_a_message_that_vanished_with_its_connection_is_unconfirmed() -> None:
    ledger = Ledger(3)
    ledger.send(0)
    ledger.disconnect(0)
    assert (ledger.missed, ledger.unconfirmed) == (0, 1)


def test_nobody_misses_what_the_server_refused() -> None:
    ledger = Ledger(3)
    ledger.send(0)
    ledger.refuse(0, "rate_limited")
    ledger.send(0)
    assert (ledger.missed, ledger.unconfirmed) == (0, 2)


def test_what_is_sent_once_the_server_takes_messages_again_is_due() -> None:
    ledger = Ledger(3)
    for reason in ("degraded", "rate_limited"):
        ledger.refuse(0, reason)
    ledger.accept(0, "degraded")
    ledger.send(0)
    assert (ledger.missed, ledger.unconfirmed) == (0, 1)
    ledger.accept(0, "rate_limited")
    ledger.send(0)
    assert (ledger.missed, ledger.unconfirmed) == (3, 1)


def test_messages_of_two_senders_may_cross_but_not_those_of_one() -> None:
    ledger = Ledger(2)
    first, second, third = ledger.send(0), ledger.send(1), ledger.send(0)
    for client in (0, 1):
        for number in (second, first, third):
            assert ledger.receive(client, number)
    assert ledger.out_of_order == 0
    fourth, fifth, sixth = ledger.send(0), ledger.send(1), ledger.send(0)
    for client in (0, 1):
        for number in (fifth, sixth, fourth):
            assert ledger.receive(client, number)
    assert ledger.out_of_order == 2


def test_two_clients_that_saw_different_orders_are_found_out() -> None:
    ledger = Ledger(2)
    first, second = ledger.send(0), ledger.send(1)
    for client, number in ((0, first), (0, second), (1, second), (1, first)):
        ledger.receive(client, number)
    assert ledger.out_of_order == 1


@given(st.data())
def test_clients_that_get_everything_in_one_order_at_their_own_pace_are_never_out_of_order(
    data: st.DataObject,
) -> None:
    ledger = Ledger(CLIENTS)
    senders = data.draw(st.lists(SOMEBODY, max_size=12))
    numbers = [ledger.send(sender) for sender in senders]
    # The server's order keeps each sender's own.
    lanes = [[n for n in numbers if senders[n] == sender] for sender in range(CLIENTS)]
    turns = data.draw(st.permutations(senders))
    order = [lanes[sender].pop(0) for sender in turns]
    waiting = [list(order) for _ in range(CLIENTS)]
    while any(waiting):
        client = data.draw(st.sampled_from([c for c in range(CLIENTS) if waiting[c]]))
        assert ledger.receive(client, waiting[client].pop(0))
    assert (ledger.out_of_order, ledger.missed) == (0, 0)


def test_messages_in_order_take_no_room() -> None:
    clients, messages = 20, 2000
    ledger = Ledger(clients)
    tracemalloc.start()
    try:
        for _ in range(messages):
            number = ledger.send(ledger.sent % clients)
            for client in range(clients):
                # One client was away for half of the time.
                if client != 7 or not messages // 4 < number < 3 * messages // 4:
                    ledger.receive(client, number)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # An array makes room ahead.
    assert taken < 10 * messages + 1000 * clients


# The set of numbers


NUMBERS = st.lists(st.integers(0, 30), max_size=60)


@given(NUMBERS, st.integers(0, 35))
def test_it_answers_as_a_set_does(numbers: list[int], limit: int) -> None:
    ranges, model = Ranges(), set[int]()
    for number in numbers:
        assert ranges.add(number) is (number not in model)
        model.add(number)
        assert len(ranges) == len(model)
        assert ranges.end == max(model) + 1
    assert [n for n in range(35) if n in ranges] == sorted(model)
    assert ranges.below(limit) == sum(n < limit for n in model)


def test_an_empty_one_ends_at_zero() -> None:
    assert (len(Ranges()), Ranges().end, Ranges().below(5)) == (0, 0, 0)
