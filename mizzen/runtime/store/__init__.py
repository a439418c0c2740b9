"""The revisioned key-value store."""
