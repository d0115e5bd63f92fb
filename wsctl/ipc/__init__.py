"""The connections between processes of ours: packets, requests and replies, and the handshake."""
