"""The log: the one order of all messages, and its homes in Redis and in a file."""
