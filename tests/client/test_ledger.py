"""Who should have received what, and who did."""

import tracemalloc
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from wsctl.client.ledger import Ledger

CLIENTS = 3
SOMEBODY = st.integers(0, CLIENTS - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), SOMEBODY, st.just(0)),
        st.tuples(st.just("receive"), SOMEBODY, st.integers(0, 20)),
        st.tuples(st.just("disconnect"), SOMEBODY, st.just(0)),
        st.tuples(st.just("refuse"), SOMEBODY, st.just(0)),
    ),
    max_size=80,
)


@dataclass
class Model:
    """The same account, with everything remembered and nothing clever."""

    senders: list[int] = field(default_factory=list)
    owed: list[bool] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    received: list[list[int]] = field(default_factory=lambda: [[] for _ in range(CLIENTS)])
    duplicated: int = 0
    out_of_order: int = 0

    def send(self, sender: int) -> None:
        self.senders.append(sender)
        self.owed.append(sender not in self.refused)

    def receive(self, client: int, number: int) -> None:
        had = self.received[client]
        if number in had:
            self.duplicated += 1
            return
        self.out_of_order += any(n > number and self.senders[n] == self.senders[number] for n in had)
        had.append(number)

    def disconnect(self, client: int) -> None:
        self.owed = [owed and self.senders[n] != client for n, owed in enumerate(self.owed)]

    def refuse(self, client: int) -> None:
        self.refused.add(client)
        self.disconnect(client)

    def due(self) -> list[int]:
        seen = {n for had in self.received for n in had}
        return [n for n, owed in enumerate(self.owed) if owed or n in seen]

    def missed(self, below: int) -> int:
        return sum(n not in had for had in self.received for n in self.due() if n < below)


def played(steps: list[tuple[str, int, int]]) -> tuple[Ledger, Model]:
    ledger, model = Ledger(CLIENTS), Model()
    for what, client, back in steps:
        if what == "receive":
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
    ledger.refuse(0)
    ledger.send(0)
    assert (ledger.missed, ledger.unconfirmed) == (0, 2)


def test_messages_of_two_senders_may_cross() -> None:
    ledger = Ledger(2)
    first, second, third = ledger.send(0), ledger.send(1), ledger.send(0)
    for number in (second, first, third):
        assert ledger.receive(0, number)
    for number in (second, third, first):
        assert ledger.receive(1, number)
    assert ledger.out_of_order == 1


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
    assert taken < 8 * messages + 1000 * clients
