"""Requests as HTTP sees them, whoever answers: targets, hosts, proxies, deadlines, refusals."""
