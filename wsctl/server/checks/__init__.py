"""The checks of `wsctl check`: rules that take facts and return findings, and beside each how its facts are
gathered."""
