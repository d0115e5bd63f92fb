"""What clients show to be let in: how it comes, who judges it, and when it ends."""
