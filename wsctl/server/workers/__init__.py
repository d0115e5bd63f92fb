"""Several processes as one server: a parent without clients, and workers on its sockets."""
