"""The journal: a log's home in a file on disk."""
