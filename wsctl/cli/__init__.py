"""The commands. Heavy imports stay inside the commands."""
