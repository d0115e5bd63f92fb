"""Servers' status for people: as blocks, as lines, and the clients as a table."""

from collections.abc import Sequence
from functools import partial

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from wsctl.cli.ui import cluster_table
from wsctl.cli.ui.drain_bar import breakdown, described, figures
from wsctl.cli.ui.handover_bar import standing
from wsctl.cli.ui.layout import fill_table, list_table
from wsctl.cli.ui.text import clock, measured, printable
from wsctl.client.stream_events import topics_text
from wsctl.control.status import ClientStatus, ServerStatus, TopicList, TopicStatus, WorkerGroup

Seen = tuple[str, ServerStatus]
"""A server's name, and what it told of itself."""

AROUND = 11
"""Lines of one server that are not clients: its block with a drain, the table's head and its last line that
counts the rest, and the empty ones between. Clients that are named with the drain come on top, and an
upgrade, and what the server tells of its Redis and its cluster."""

UPGRADE = 2
"""Lines of an upgrade, on a terminal of 80 columns."""

TOPICS_WIDTH = 28
"""Columns that a client's topics take on a terminal, so that the others keep theirs."""

TABLE = 3
"""Lines of a table beside its rows: the empty one before it, its head, and the one that counts the rest."""


def blocks(seen: Sequence[Seen], height: int | None = None, topics: Sequence[TopicList | None] = ()) -> Group:
    """Draw all servers, one below the other; their clients, their topics, and the nodes of a cluster, only as
    far as `height` lines reach. What servers of one cluster tell alike stands once, below the last of them;
    so do the topics of workers."""
    parts: list[RenderableType] = []
    for n, (name, status) in enumerate(seen):
        parts += [Text("")] if n else []
        parts.append(block(name, status))
        alike = [other for _, other in seen if cluster_table.together(status, other)] or [status]
        listed = topics[n] if n < len(topics) and not _has_fellows(status, seen[n + 1 :]) else None
        is_last = alike[-1] is status
        if is_last or listed is not None:
            room = None if height is None else _room(alike if is_last else [status], height // len(seen))
            parts += _below(status, room, listed, is_last=is_last)
    return Group(*parts)


def _has_fellows(status: ServerStatus, others: Sequence[Seen]) -> bool:
    """Tell whether one of these servers is a worker of the same parent."""
    group = status.group
    return group is not None and any(other.group and other.group.pid == group.pid for _, other in others)


def topic_table(listed: TopicList, room: int | None = None) -> Table:
    """Return a table of topics; at most `room` of them, and how many more there are."""
    table = list_table()
    table.add_column("  topic", overflow="fold")
    for name in ("subscribers", "kept", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("newest id", no_wrap=True)
    fill_table(table, listed.topics, _topic_cells, room)
    if listed.more and (room is None or len(listed.topics) <= room):
        table.add_row(Text("  and more", style="dim"))
    return table


def _topic_cells(topic: TopicStatus) -> list[Text]:
    return [
        Text(f"  {printable(topic.topic)}"),
        Text(str(topic.subscribers)),
        Text(str(topic.messages)),
        Text(decimal(topic.bytes)),
        Text(printable(topic.newest_id or "-")),
    ]


def _below(
    status: ServerStatus, room: int | None, topics: TopicList | None, *, is_last: bool
) -> list[RenderableType]:
    """Draw the tables of a server: of its topics, and below the last of a cluster of its nodes and clients.
    They have `room` lines for their rows, of which each but the last has no more than half."""
    parts: list[RenderableType] = []
    found = (is_last and status.nodes) or ()
    listed = status.clients if is_last else None
    if topics is not None:
        shared = bool(found) or listed is not None
        room, most = _half(room, shared=shared)
        parts += [Text(""), topic_table(topics, most)]
        room = None if room is None or most is None else room - min(most, len(topics.topics))
    if found:
        room, most = _half(room, shared=listed is not None)
        parts += [Text(""), cluster_table.nodes(found, most)]
        room = None if room is None or most is None else room - min(most, len(found))
    if listed is not None:
        parts += [Text(""), clients(listed, room)]
    return parts


def _half(room: int | None, *, shared: bool) -> tuple[int | None, int | None]:
    """Return the lines for the rows of all tables, and for those of the first one, when another one follows
    or not."""
    if room is None or not shared:
        return room, room
    room = max(0, room - TABLE)
    return room, room // 2


def _room(alike: Sequence[ServerStatus], share: int) -> int:
    """Return how many lines the tables below these servers have for their rows; each server may show `share`
    lines."""
    return max(0, sum(share - AROUND - _more(status) for status in alike))


def _more(status: ServerStatus) -> int:
    """Count the lines of a server on top of `AROUND`."""
    named = len(status.drain.longest) if status.drain else 0
    group = 1 if status.group else 0
    application = 1 if status.application else 0
    admin = 1 if status.admin else 0
    topics = 1 if status.topics or status.subscriptions else 0
    streams = 1 if status.streams else 0
    return (
        named
        + streams
        + len(_delivery(status))
        + group
        + application
        + admin
        + topics
        + (UPGRADE if status.upgrade else 0)
        + len(cluster_table.rows(status))
    )


def block(name: str, status: ServerStatus) -> Group:
    """Draw one server."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("  phase", cluster_table.phase(status))
    rows.add_row("  connections", Text(_connections(status)))
    if status.streams:
        rows.add_row("  streams", Text(f"{status.streams} of the connections"))
    if status.application:
        rows.add_row("  application", _one_line(Text(breakdown(status.application))))
    if group := status.group:
        rows.add_row("  workers", Text(_group(group)))
    if status.admin:
        rows.add_row("  admin", _one_line(Text(printable(status.admin))))
    if status.topics or status.subscriptions:
        plural = "" if status.subscriptions == 1 else "s"
        topics = f"{status.topics} with messages, {status.subscriptions} subscription{plural}"
        rows.add_row("  topics", _one_line(Text(topics)))
    rows.add_row("  uptime", Text(clock(status.uptime_s)))
    rows.add_row("  rates", Text(_rates(status)))
    told = [("delivery", Text(text)) for text in _delivery(status)]
    told.append(("newest id", Text(printable(status.newest_id))))
    for label, value in (*told, *cluster_table.rows(status)):
        rows.add_row(f"  {label}", _one_line(value))
    if progress := status.drain:
        rows.add_row("  drain", Text(f"{figures(progress)} ({printable(progress.reason)})"))
        for n, stay in enumerate(progress.longest):
            rows.add_row("" if n else "  longest", _one_line(Text(described(stay))))
    if status.upgrade:
        rows.add_row("  upgrade", Text(standing(status.upgrade)))
    process = [f"pid {status.pid}", *_generation(status), *cluster_table.own_id(status)]
    process.append(f"wsctl {printable(status.version)}")
    title = Text(printable(name), style="bold")
    return Group(title.append(f"  {', '.join(process)}", "not bold dim"), rows)


def _group(group: WorkerGroup) -> str:
    """Describe all workers, and name those that do not answer."""
    told = f"{len(group.workers)}, {group.connections} connected to all"
    silent = [f"worker {each.number} (pid {each.pid})" for each in group.workers if each.silent]
    return f"{told}; {' and '.join(silent)}: no answer" if silent else told


def line(name: str, status: ServerStatus) -> str:
    """Describe one server in one line."""
    subject = " ".join([printable(name), *_generation(status)])
    words = [
        f"{subject} {cluster_table.phase(status).plain}: {_connections(status)} connected",
        _rates(status),
        *(f"delivery {told}" for told in _delivery(status)),
        *cluster_table.words(status),
    ]
    if status.application and status.application.connections and not status.drain:
        words.append(f"application {breakdown(status.application)}")
    if status.drain:
        words.append(f"drain {figures(status.drain)}")
    if status.upgrade:
        words.append(f"upgrade {standing(status.upgrade)}")
    return "; ".join(words)


def clients(rows: Sequence[ClientStatus], room: int | None = None) -> Table:
    """Return a table of clients, those connected longest first, with the node that each is on and its topics
    where these are told, and how it is connected where some are event streams; at most `room` of them, and
    how many more there are."""
    table = list_table()
    table.add_column("  client", overflow="fold")
    table.add_column("address", overflow="fold")
    table.add_column("connected", justify="right", no_wrap=True)
    table.add_column("waiting", justify="right", no_wrap=True)
    with_node = any(client.node for client in rows)
    with_topics = any(client.topics for client in rows)
    with_transport = any(client.transport == "stream" for client in rows)
    if with_transport:
        table.add_column("transport", no_wrap=True)
    if with_node:
        table.add_column("node", no_wrap=True)
    if with_topics:
        most = None if room is None else TOPICS_WIDTH
        table.add_column("topics", no_wrap=True, overflow="ellipsis", max_width=most)
    cells = partial(_cells, with_transport=with_transport, with_node=with_node, with_topics=with_topics)
    return fill_table(table, rows, cells, room)


def _cells(client: ClientStatus, *, with_transport: bool, with_node: bool, with_topics: bool) -> list[Text]:
    """Return the cells of a client. Of another node's client, its address and what waits for it are not
    known."""
    address, waiting = client.address, client.waiting_bytes
    return [
        Text(f"  {printable(client.client_id)}"),
        Text("-" if address is None else printable(address)),
        Text(clock(client.connected_s)),
        Text("-" if waiting is None else decimal(waiting)),
        *([Text(printable(client.transport or "-"))] if with_transport else []),
        *([Text(printable(client.node or "-"))] if with_node else []),
        *([Text(printable(topics_text(client.topics or ())) or "-")] if with_topics else []),
    ]


def _one_line(text: Text) -> Text:
    """Cut a text where the screen ends: `AROUND` counts on it."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _generation(status: ServerStatus) -> list[str]:
    """Say which process at its address a server is, where there was another one or will be."""
    number = status.generation
    return [f"generation {number}"] if number != 1 or status.upgrade else []


def _connections(status: ServerStatus) -> str:
    told = f"{status.connections} of {status.capacity}" if status.capacity else str(status.connections)
    if status.capacity and status.application and status.application.responses:
        places = status.connections - status.application.responses
        told = f"{status.connections}, which take {places} of {status.capacity} places"
    if status.client_ids is not None:
        told = f"{told}, of {status.client_ids} {'client' if status.client_ids == 1 else 'clients'}"
    return f"{told}, {status.closing} closing" if status.closing else told


def _rates(status: ServerStatus) -> str:
    rates = status.rates
    told = {"published": rates.published, "received": rates.received, "delivered": rates.delivered}
    return ", ".join(f"{name} {rate:g}/s" for name, rate in told.items())


def _delivery(status: ServerStatus) -> list[str]:
    """Say how long deliveries took over the last ten seconds, and what waits for clients that are behind;
    nothing where there was none of both."""
    mean, longest, outbox = status.delivery.mean_s, status.delivery.longest_s, status.outbox
    if mean is None and not outbox.clients:
        return []
    took = "none in the last 10 s" if mean is None else f"{measured(mean)} on average"
    most = "" if longest is None else f", at most {measured(longest)}"
    who = "1 client" if outbox.clients == 1 else f"{outbox.clients} clients"
    waits = f"{decimal(outbox.bytes)} waiting for {who}" if outbox.clients else "nothing waits"
    return [f"{took}{most}, {waits}"]
