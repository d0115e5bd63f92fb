"""The log: the one order of all messages, and its home in Redis."""
