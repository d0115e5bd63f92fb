"""The heart: the log that orders messages, and the connections they go to."""
