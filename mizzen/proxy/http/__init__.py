"""The HTTP connection manager: streams, the filter chain, what is added to and removed from messages."""
