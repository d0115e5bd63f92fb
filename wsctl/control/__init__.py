"""The control API: its operations, what they take and answer, and the status of a server."""
