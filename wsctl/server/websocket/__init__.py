"""WebSockets, from the handshake to the last frame."""
