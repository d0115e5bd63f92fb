"""The edge that clients and operators reach: HTTP, WebSocket, sockets, signals."""
