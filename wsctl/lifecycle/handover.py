"""The handover to a fresh process: its facts, and the conversation of the two processes.

The old process is called the predecessor, the new one the successor. They speak in packets:

    predecessor                                 successor
    hello: version, generation, kind of
      the key, listeners                   -->
                                           <--  pid: the process in which it goes on
                                           <--  ready, or refused: why
    -- from here on the predecessor gives no ids and accepts no connections --
    history: messages, in pieces           -->
    rates: what clients may still send, now and
      whenever some move or leave        -->
    begin: position of the log, who is there -->
    publish: what a client here sends      -->
                                           <--  message: what got its id, for those still here
                                           <--  unpublished: what got none, and why
                                           <--  away, back: how Redis is, if there is one
    move: connections, oldest first        -->
                                           <--  moved: how many, the longest silence among them
    joined, left: who came and went here   -->
                                           <--  replaced: a newer connection of an id that is here
    listen: nearly all are moved           -->
    doors: connections that said nothing yet -->
    over: nothing moves any more           -->
                                           <--  listening

When the predecessor hangs up, all is done. When it does so before `listen`, it was killed, and the
successor serves with what it has got. When the successor goes before `listening`, the predecessor gives
ids and accepts connections again.
"""

from dataclasses import dataclass
from enum import StrEnum

VERSION = 3
"""The version of the conversation above. A successor of another version refuses, and the predecessor goes
on."""


class HandoverState(StrEnum):
    """The states of a handover."""

    STARTING = "starting"
    """The successor was started and is not ready yet; nothing has changed for clients."""
    MOVING = "moving"
    """The successor has the log; connections move."""
    DONE = "done"
    """Every connection that can move has moved."""
    FAILED = "failed"
    """The server goes on as if nothing had been asked."""


@dataclass(frozen=True, slots=True)
class HandoverProgress:
    """A handover as it stands: counts of clients, and seconds.

    `successor` is its pid, once it was started; `total` were connected when the move began, `moved` of
    them are with the successor, `staying` cannot move and drain here; `silence_s` is the longest time in
    which one of the moved could neither receive nor be heard; `error` says why it failed.
    """

    state: HandoverState
    successor: int | None
    total: int
    moved: int
    staying: int
    elapsed_s: float
    silence_s: float
    error: str | None
