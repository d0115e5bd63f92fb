"""The connections of one process, and the fan-out of messages to them."""
