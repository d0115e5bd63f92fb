"""The handover of one process to another: listening sockets, log, and open connections."""
