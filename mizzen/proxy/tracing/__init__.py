"""Distributed tracing: which requests are traced, what their spans say, how the trace goes on upstream, and where spans are sent."""
