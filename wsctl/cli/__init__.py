"""The commands: people's side. Heavy imports stay inside the commands."""
