"""The output for people: it shows facts and decides nothing."""
