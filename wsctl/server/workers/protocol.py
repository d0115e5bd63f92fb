"""The workers of one server: the conversation of the parent and a worker.

The parent has the listening sockets and no client; each worker is a server of its own on these sockets.
They speak in packets, over a channel that each worker is given when it is started:

    parent                                      worker
    hello: version, number, look, kind of
      the key; page of counts, listeners -->
                                             <--  refused: why, when it cannot start
                                             <--  listening: clients and operators reach it;
                                                  the kind of its key
                                             <--  report: its status and the exit code as things stand,
                                                  once a second, and at each step of a drain or handover
    signal: one came to the parent           -->
    force: the operator insists              -->
    ask: number, method, path, body          <->  ask: the same
    answer: number, status, body             <->  answer: the same
                                             <--  successor: start one; the channel to it comes along
                                             <--  kill: end it, the handover has failed
    ended: it has, with an exit code         -->

Requests are those of the control API: the parent asks one worker, a worker asks the parent for all. A worker
whose parent hangs up drains as on SIGTERM. A parent whose worker hangs up waits for its exit code.
"""

VERSION = 1
"""The version of the conversation above. A worker of another version refuses: it cannot join the parent that
runs."""

REPORT_EVERY = 0.25
"""Seconds between two reports of a drain: as often as the bar moves."""
