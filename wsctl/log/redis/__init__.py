"""The log and the presence of several servers, in Redis."""
