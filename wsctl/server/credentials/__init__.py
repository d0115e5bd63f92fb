"""The credentials of clients: how they are sent, how they are checked, and when they end."""
