"""Debug pages, ControlZ, metrics."""
