"""What broadcasting costs, side by side with other servers: `python -m tests.bench`."""
