"""This process among others: its record, its place in a job, its signals, and what systemd is told."""
