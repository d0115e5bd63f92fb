"""The sockets that listen, and what comes in on them until it is known."""
