"""Sockets, original destination, filter-chain matching, TLS."""
