"""The decisions about how a server ends, without I/O: time, counts and signals go in, steps come out."""
