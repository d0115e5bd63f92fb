"""Metrics for Prometheus. Counts are of one process and begin anew with it, after a handover too, which is
what Prometheus expects of a counter: `wsctl_generation` shows that there was one."""

PUBLIC = "/metrics"
"""The path that Prometheus scrapes."""
