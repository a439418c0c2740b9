"""Protocol state machines without I/O."""
