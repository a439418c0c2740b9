"""Metrics, access logs and tracing of listeners."""
