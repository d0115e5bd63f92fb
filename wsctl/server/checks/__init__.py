"""The checks that only `wsctl check` makes: rules that take facts and return findings, and beside each how
its facts are gathered."""
