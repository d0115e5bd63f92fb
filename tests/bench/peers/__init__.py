"""The servers that are compared, each a program that prints where it listens.

None of them sends pings, which the load does not answer.
"""
