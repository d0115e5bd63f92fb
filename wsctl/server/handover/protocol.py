"""The handover to a fresh process: the conversation of the two processes.

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

VERSION = 3
"""The version of the conversation above. A successor of another version refuses, and the predecessor goes
on."""
