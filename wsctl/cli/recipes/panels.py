"""The panels of the dashboard, in the order in which somebody on call looks at them.

`{}` in a query stands for what the dashboard has been told to show; `[]` for the time between two points.
"""

from typing import NamedTuple


class Panel(NamedTuple):
    """One panel. `queries` are expressions and the names of their lines; `unit` is Grafana's word."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False


class Row(NamedTuple):
    """Panels under a heading, three in a line of 24 columns."""

    title: str
    panels: tuple[Panel, ...]


WHERE = "{{instance}} {{worker}}"
"""The name of a line of one process; without workers the second word is empty."""

_DELAY = "sum by (le) (rate(wsctl_event_loop_delay_seconds_bucket{}[]))"
_BROADCAST = "sum by (le) (rate(wsctl_broadcast_duration_seconds_bucket{}[]))"

ROWS = (
    Row(
        "Now",
        (
            Panel("Clients", "short", (("sum(wsctl_connections{})", "clients"),), "stat", 6),
            Panel(
                "Processes by phase",
                "short",
                (("sum by (wsctl_phase) (wsctl_phase{}) > 0", "{{wsctl_phase}}"),),
                "stat",
                6,
            ),
            Panel(
                "Versions",
                "short",
                (("count by (version, python) (wsctl_build_info{})", "{{version}} on Python {{python}}"),),
                "stat",
                6,
            ),
            Panel(
                "Workers that do not answer", "short", (("sum(1 - wsctl_worker_up{})", "workers"),), "stat", 6
            ),
        ),
    ),
    Row(
        "Drain",
        (
            Panel(
                "Clients of drains, by what became of them",
                "short",
                (("sum by (state) (wsctl_drain_clients{})", "{{state}}"),),
            ),
            Panel(
                "Time to the deadline, and until the last has left",
                "s",
                (
                    ("wsctl_drain_remaining_seconds{}", f"deadline {WHERE}"),
                    ("wsctl_drain_eta_seconds{}", f"left by {WHERE}"),
                ),
            ),
            Panel(
                "Closed by force",
                "short",
                (
                    ("sum by (instance) (increase(wsctl_clients_forced_total{}[]))", "forced {{instance}}"),
                    ("sum by (instance) (increase(wsctl_clients_aborted_total{}[]))", "aborted {{instance}}"),
                    (
                        "sum by (instance) (increase(wsctl_messages_undelivered_total{}[]))",
                        "messages lost {{instance}}",
                    ),
                ),
            ),
            Panel(
                "Phase", "short", (("sum by (wsctl_phase) (wsctl_phase{})", "{{wsctl_phase}}"),), stacked=True
            ),
            Panel("Servers that drain before this one", "short", (("wsctl_drain_waiting_for{}", WHERE),)),
            Panel(
                "Handovers",
                "short",
                (
                    ("wsctl_generation{}", f"generation {WHERE}"),
                    ("increase(wsctl_handovers_failed_total{}[])", f"failed {WHERE}"),
                ),
            ),
        ),
    ),
    Row(
        "Clients",
        (
            Panel(
                "Connected",
                "short",
                (("wsctl_connections{}", WHERE), ("wsctl_connections_limit{}", f"limit {WHERE}")),
            ),
            Panel(
                "Come and go, a second",
                "short",
                (
                    ("sum(rate(wsctl_connections_opened_total{}[]))", "opened"),
                    ("-sum(rate(wsctl_connections_closed_total{}[]))", "closed"),
                    ("sum(rate(wsctl_connections_adopted_total{}[]))", "taken over"),
                    ("sum by (code) (rate(wsctl_connections_refused_total{}[]))", "refused: {{code}}"),
                ),
            ),
            Panel(
                "Closed by code, a second",
                "short",
                (("sum by (code) (rate(wsctl_connections_closed_total{}[]))", "{{code}}"),),
                stacked=True,
            ),
        ),
    ),
    Row(
        "Messages",
        (
            Panel(
                "Messages a second",
                "short",
                (
                    ("sum(rate(wsctl_messages_received_total{}[]))", "in, from clients"),
                    ("sum(rate(wsctl_messages_delivered_total{}[]))", "out, to clients"),
                ),
            ),
            Panel(
                "Bytes a second",
                "Bps",
                (
                    ("sum(rate(wsctl_received_bytes_total{}[]))", "in"),
                    ("sum(rate(wsctl_sent_bytes_total{}[]))", "out"),
                ),
            ),
            Panel(
                "Published a second, by process",
                "short",
                (("rate(wsctl_messages_published_total{}[])", WHERE),),
            ),
            Panel(
                "Broadcasts by how long they took",
                "s",
                (("sum by (le) (increase(wsctl_broadcast_duration_seconds_bucket{}[]))", "{{le}}"),),
                "heatmap",
            ),
            Panel(
                "Time of a broadcast",
                "s",
                tuple((f"histogram_quantile({q}, {_BROADCAST})", f"{q * 100:g} %") for q in (0.5, 0.99)),
            ),
            Panel(
                "How late the event loop is",
                "s",
                tuple((f"histogram_quantile({q}, {_DELAY})", f"{q * 100:g} %") for q in (0.5, 0.99)),
            ),
        ),
    ),
    Row(
        "Slow clients",
        (
            Panel(
                "The most that waits for one client, and where it is cut",
                "bytes",
                (("wsctl_outbox_largest_bytes{}", WHERE), ("max(wsctl_outbox_limit_bytes{})", "limit")),
            ),
            Panel("Waiting for all", "bytes", (("wsctl_outbox_bytes{}", WHERE),)),
            Panel(
                "Behind, and cut",
                "short",
                (
                    ("sum by (instance) (wsctl_clients_behind{})", "behind {{instance}}"),
                    ("sum by (instance) (increase(wsctl_slow_clients_cut_total{}[]))", "cut {{instance}}"),
                ),
            ),
        ),
    ),
    Row(
        "Shared log",
        (
            Panel("Redis away for", "s", (("wsctl_redis_away_seconds{}", WHERE),)),
            Panel(
                "Behind the log, and since its newest message",
                "s",
                (
                    ("wsctl_redis_lag_seconds{}", f"behind {WHERE}"),
                    ("time() - max(wsctl_log_position_timestamp_seconds{})", "since the newest"),
                ),
            ),
            Panel(
                "Servers and clients of the cluster",
                "short",
                (("max(wsctl_cluster_nodes{})", "servers"), ("max(wsctl_cluster_connections{})", "clients")),
            ),
        ),
    ),
    Row(
        "Processes",
        (
            Panel(
                "Memory",
                "bytes",
                (
                    ("process_resident_memory_bytes{}", WHERE),
                    ("wsctl_history_bytes{}", f"of it history {WHERE}"),
                ),
            ),
            Panel("Cores busy", "short", (("rate(process_cpu_seconds_total{}[])", WHERE),)),
            Panel(
                "Open files, of those allowed",
                "percentunit",
                (("process_open_fds{} / process_max_fds{}", WHERE),),
            ),
        ),
    ),
)
"""The rows of the dashboard, one screen each."""
