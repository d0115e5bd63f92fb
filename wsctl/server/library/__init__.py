"""The hub as a part of an application that is not ours."""
