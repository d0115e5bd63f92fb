"""Several servers of one machine, asked at once: one that hangs does not keep the others' answers."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

from wsctl.client.control import Answer, Control
from wsctl.errors import Silent, WsctlError

SOON = 0.8
"""Seconds that the others have once one has answered: all are on this machine, and none has more to do."""

Ask = Callable[[Control], Answer]

Told = Answer | WsctlError


def ask_all(controls: Sequence[Control], ask: Ask) -> list[Told]:
    """Ask each server, and return what it answers, or why it does not, in their order."""
    answers: queue.SimpleQueue[tuple[int, Told | Exception]] = queue.SimpleQueue()
    for number, control in enumerate(controls):
        # Daemons: nobody waits for the rest of them at the end.
        threading.Thread(target=_ask, args=(number, control, ask, answers), daemon=True).start()
    found: dict[int, Told] = {}
    until: float | None = None
    while len(found) < len(controls):
        try:
            number, told = answers.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(told, Exception) and not isinstance(told, WsctlError):
            raise told
        found[number] = told
        if until is None and not isinstance(told, WsctlError):
            until = time.monotonic() + SOON
    return [found.get(number) or _silent(control) for number, control in enumerate(controls)]


def _ask(
    number: int, control: Control, ask: Ask, answers: "queue.SimpleQueue[tuple[int, Told | Exception]]"
) -> None:
    try:
        answers.put((number, ask(control)))
    except Exception as error:  # whatever it is, whoever waits must hear of it
        answers.put((number, error))


def _silent(control: Control) -> Silent:
    return Silent(f"{control.process} does not answer, the others do: it hangs, or is stopped")
