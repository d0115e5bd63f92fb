"""The dashboard: who may use it, and what it is told."""
