"""The life of a server: its phases, and how it ends."""
