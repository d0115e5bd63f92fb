"""The edge that the commands reach servers through: WebSocket sessions and the control API."""
