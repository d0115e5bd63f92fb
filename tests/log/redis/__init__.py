"""Tests of what several servers share in Redis."""
