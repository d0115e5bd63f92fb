"""The edge through which commands and programs reach servers: WebSocket sessions, the stream of messages that
the library gives, and the control API."""
