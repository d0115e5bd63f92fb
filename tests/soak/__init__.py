"""Soak and abuse: servers under all that peers and operators do, for as long as told, and a verdict."""
