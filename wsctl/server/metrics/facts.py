"""Every metric of one server: the same facts that its status, its log and its bar tell.

Nothing is counted here, and nothing names a client.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass

from wsctl import __version__
from wsctl.codes import CloseCode, ErrorCode
from wsctl.control.status import ApplicationStatus, MessageCounts, OutboxStatus, ServerStatus
from wsctl.drain.phases import Phase
from wsctl.drain.progress import ConnectionKind, DrainProgress, EndingCounts
from wsctl.hub.connection import EndReason
from wsctl.hub.intake import OF_APPLICATIONS, Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.traffic import OTHER, Durations
from wsctl.log.history import MessageId
from wsctl.log.message_log import MessageLog
from wsctl.server.http.refusals import Refusals
from wsctl.server.journal_monitor import JournalMonitor
from wsctl.server.metrics.family import Family, counter, counters, gauge, gauges, histogram, info, states
from wsctl.server.metrics.journal import journal_families
from wsctl.server.sharing import Sharing
from wsctl.server.status_reporter import StatusReporter
from wsctl.server.websocket.command_handler import UNKNOWN
from wsctl.server.websocket.commands import SHAPES


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSources:
    """The parts of a server that count. `application_ended` is how connections of an application of one's
    own have ended, where one is served; `max_queue` is the most bytes that may wait for a client, 0 for no
    limit; `failed_handovers` returns how many there were."""

    reporter: StatusReporter
    manager: ConnectionManager
    application_ended: EndingCounts | None
    intake: Intake
    log: MessageLog
    refusals: Refusals
    shared: Sharing | None
    journal: JournalMonitor | None
    lateness: Durations
    max_queue: int
    failed_handovers: Callable[[], int]


def families(sources: MetricSources) -> list[Family]:
    """Return all metrics, as they are in this moment."""
    facts = sources.reporter.status()
    sections = [
        _server(sources, facts),
        _connections(sources, facts),
        _endings(sources),
        _application(sources, facts.application),
        _messages(sources, facts.messages),
        _outboxes(sources, facts.outbox),
        _log(sources),
        _topics(sources, facts),
        _drain(facts.drain),
        _shared(sources, facts),
        journal_families(sources.journal) if sources.journal else [],
    ]
    return [family for section in sections for family in section]


def _server(sources: MetricSources, facts: ServerStatus) -> list[Family]:
    failed = sources.failed_handovers()
    build = {"version": __version__, "python": platform.python_version()}
    return [
        info("wsctl_build_info", "The version of wsctl, and of the Python that runs it.", build),
        states("wsctl_phase", "The phase of the server's life.", list(Phase), facts.status),
        gauge("wsctl_uptime_seconds", "Time since this process was made.", facts.uptime_s),
        gauge("wsctl_generation", "1, and one more after each handover.", facts.generation),
        counter("wsctl_handovers_failed_total", "Handovers after which this process went on.", failed),
        histogram(
            "wsctl_event_loop_delay_seconds",
            "How late the event loop was, looked at once a second.",
            sources.lateness,
        ),
    ]


def _connections(sources: MetricSources, facts: ServerStatus) -> list[Family]:
    traffic = sources.manager.traffic
    limited = facts.connections - (facts.application.responses if facts.application else 0)
    return [
        gauge("wsctl_connections", "Connections: clients, and those of an application.", facts.connections),
        gauges(
            "wsctl_clients",
            "Clients, by what they are connected with.",
            "transport",
            {"websocket": len(sources.manager.active_connections) - facts.streams, "stream": facts.streams},
        ),
        gauge("wsctl_limited_connections", "Those that the limit counts: no responses.", limited),
        gauge("wsctl_closing_connections", "Connections whose close is not answered yet.", facts.closing),
        gauge("wsctl_connections_limit", "Clients that are let in; absent without limit.", facts.capacity),
        counter("wsctl_connections_opened_total", "Connections made here.", traffic.opened),
        counter("wsctl_connections_adopted_total", "Taken over from a predecessor.", traffic.adopted),
        counter("wsctl_connections_handed_over_total", "Taken over by a successor.", traffic.released),
        counters(
            "wsctl_connections_refused_total",
            "Clients that were not let in, by the code of the answer; draining: closed with 1001.",
            "code",
            dict.fromkeys(("full", "draining"), 0) | sources.refusals.counts,
        ),
    ]


def _endings(sources: MetricSources) -> list[Family]:
    tally, closes = sources.manager.tally, sources.manager.traffic.closed
    # Ours from the start, at 0: the growth of what was not there is none.
    codes = dict.fromkeys([*CloseCode, OTHER], 0) | closes
    closed = {"other" if code == OTHER else str(int(code)): n for code, n in codes.items()}
    aborted = tally[EndReason.ABORTED]
    forced = tally[EndReason.FORCED] + aborted
    cut_slow = sources.manager.traffic.cut_slow
    return [
        counters("wsctl_connections_closed_total", "Connections that ended, by close code.", "code", closed),
        counter("wsctl_clients_forced_total", "Clients closed by force, by deadline or operator.", forced),
        counter("wsctl_clients_aborted_total", "Those of them that did not answer the close frame.", aborted),
        counter("wsctl_slow_clients_cut_total", "Clients cut: they read too slowly.", cut_slow),
    ]


def _application(sources: MetricSources, facts: ApplicationStatus | None) -> list[Family]:
    """Return the metrics of an application of one's own; none without one. No route is a label: a path that
    anyone may choose would make a series of its own."""
    ended = sources.application_ended
    if ended is None or facts is None:
        return []
    kinds = {ConnectionKind.WEBSOCKET: facts.websockets, ConnectionKind.RESPONSE: facts.responses}
    reasons = {"left": ended.left, "policy": ended.by_policy, "forced": ended.forced}
    return [
        gauges(
            "wsctl_application_connections",
            "Connections of the application: WebSockets, and requests without their whole answer.",
            "kind",
            {str(kind): count for kind, count in kinds.items()},
        ),
        counters(
            "wsctl_application_connections_ended_total",
            "Those that ended: left by themselves, closed as --drain-policy says, or by force.",
            "reason",
            reasons,
        ),
        counter(
            "wsctl_application_connections_aborted_total",
            "Those of them whose task was cancelled: it had not returned.",
            ended.aborted,
        ),
    ]


def _messages(sources: MetricSources, messages: MessageCounts) -> list[Family]:
    traffic = sources.manager.traffic
    return [
        counter(
            "wsctl_messages_published_total",
            "Messages that got their place in the log; servers that share one count the same ones.",
            messages.published,
        ),
        counter("wsctl_messages_received_total", "Messages taken from clients.", messages.received),
        counter("wsctl_messages_delivered_total", "Messages offered to clients.", messages.delivered),
        counter(
            "wsctl_messages_undelivered_total",
            "Messages that waited for clients which were aborted.",
            sources.manager.undelivered,
        ),
        counter("wsctl_received_bytes_total", "Bytes that clients sent.", sources.intake.received_bytes),
        counter(
            "wsctl_sent_bytes_total",
            "Bytes of frames offered to clients; pings, errors and close frames are not counted.",
            traffic.sent_bytes,
        ),
        histogram(
            "wsctl_broadcast_duration_seconds",
            "How long it took to offer what one turn of the event loop gathered to all clients.",
            traffic.broadcasts,
        ),
    ]


def _outboxes(sources: MetricSources, waiting: OutboxStatus) -> list[Family]:
    limit = sources.max_queue or None
    text = "Bytes that wait for clients; what waits for several of them counts for each."
    return [
        gauge("wsctl_outbox_bytes", text, waiting.bytes),
        gauge("wsctl_outbox_largest_bytes", "Those for the client with the most.", waiting.largest),
        gauge("wsctl_outbox_limit_bytes", "Above so many a client is cut; absent without limit.", limit),
        gauge("wsctl_clients_behind", "Clients for whom something waits.", waiting.clients),
    ]


def _log(sources: MetricSources) -> list[Family]:
    history, when = sources.log.history, _seconds(sources.log.position)
    text = "When the newest message was published, or before the first one, the server made."
    return [
        gauge("wsctl_log_position_timestamp_seconds", text, when),
        gauge("wsctl_history_messages", "Messages kept for clients that resume.", len(history)),
        gauge("wsctl_history_bytes", "Bytes of their frames.", history.bytes),
    ]


def _topics(sources: MetricSources, facts: ServerStatus) -> list[Family]:
    """Return the metrics of topics and commands. None names a topic: whoever may publish could make a series
    of each."""
    return [
        gauge(
            "wsctl_subscriptions", "Patterns of topics that clients have subscribed to.", facts.subscriptions
        ),
        gauge("wsctl_history_topics", "Topics of which messages are kept.", facts.topics),
        counter(
            "wsctl_topic_messages_published_total",
            "Those of the published messages that have a topic.",
            sources.log.published_to_topics,
        ),
        counters(
            "wsctl_commands_total",
            "Commands of clients that speak wsctl.2, by type; unknown is what is none.",
            "command",
            dict.fromkeys([*SHAPES, UNKNOWN], 0) | sources.intake.commands,
        ),
        counters(
            "wsctl_frames_refused_total",
            "Frames of clients that were answered with an error, by its code; application: one of its own.",
            "code",
            dict.fromkeys([*map(str, ErrorCode), OF_APPLICATIONS], 0)
            | {str(code): count for code, count in sources.intake.refused.items()},
        ),
    ]


def _drain(drain: DrainProgress | None) -> list[Family]:
    """Return the metrics of the drain; without one there are the names and no values."""
    states = ("started_with", "active", "left", "evicted", "by_policy", "forced", "aborted", "handed_over")
    clients: dict[str, int] = {state: getattr(drain, state) for state in states if drain}

    def of_drain(name: str, text: str, field: str) -> Family:
        return gauge(name, text, getattr(drain, field, None))

    return [
        gauges(
            "wsctl_drain_clients",
            "Clients of the drain, by what became of them; started_with is how many there were.",
            "state",
            clients,
        ),
        of_drain("wsctl_drain_elapsed_seconds", "Time since the drain was begun.", "elapsed_s"),
        of_drain("wsctl_drain_remaining_seconds", "Time to its deadline.", "remaining_s"),
        of_drain(
            "wsctl_drain_eta_seconds",
            "Time until the last has left if they go on as now; absent while nobody leaves.",
            "eta_s",
        ),
        of_drain("wsctl_drain_undelivered", "Messages lost with aborted clients.", "undelivered"),
        of_drain(
            "wsctl_drain_waiting_for",
            "Servers that drain before this one, which waits for its turn.",
            "waiting_for",
        ),
    ]


def _shared(sources: MetricSources, facts: ServerStatus) -> list[Family]:
    if sources.shared is None or facts.redis is None or facts.cluster is None:
        return []
    lease, redis, cluster = sources.shared.session.lease, facts.redis, facts.cluster
    return [
        gauge("wsctl_redis_up", "Whether Redis answers.", redis.is_up),
        gauge("wsctl_redis_away_seconds", "For how long it has not.", 0 if redis.is_up else redis.for_s),
        gauge(
            "wsctl_redis_position_timestamp_seconds",
            "When the newest message of the shared log was published, as it was heard last.",
            _seconds(lease.lag.newest),
        ),
        gauge("wsctl_redis_lag_seconds", "For how long one has been there that was not read.", lease.lag_s),
        counter(
            "wsctl_redis_unreadable_total",
            "What was found in it that cannot be read, and was skipped.",
            redis.unreadable,
        ),
        gauge("wsctl_cluster_nodes", "Servers that share the Redis.", cluster.nodes),
        gauge("wsctl_cluster_connections", "Clients of all of them.", cluster.connections),
    ]


def _seconds(position: MessageId) -> float:
    """Return the time of an id, which is milliseconds and a sequence number, in Unix seconds."""
    return position[0] / 1000
