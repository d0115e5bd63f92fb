"""What Prometheus is told. Counts are of one process and begin anew with it, after a handover too, which is
what Prometheus expects of a counter: `wsctl_generation` shows that there was one."""

PUBLIC = "/metrics"
"""Where Prometheus asks."""

OWN = "/api/metrics"
"""Where a process tells, as JSON, of itself alone."""
