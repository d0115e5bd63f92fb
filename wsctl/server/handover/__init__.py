"""One process takes over from another: listening sockets, log, and open connections."""
