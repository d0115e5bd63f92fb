"""The log that orders messages, and the connections they go to."""
