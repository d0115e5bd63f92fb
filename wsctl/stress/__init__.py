"""The load test of `wsctl stress`: many sessions that send and receive, and what arrived of it."""
