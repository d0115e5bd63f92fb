"""Applications that are not ours, and what a drain does for them."""
