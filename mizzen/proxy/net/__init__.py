"""Byte streams: TLS layers, addresses, certificates, network filters' plumbing."""
