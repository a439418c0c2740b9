"""Access logs: format strings, filters and sinks."""
