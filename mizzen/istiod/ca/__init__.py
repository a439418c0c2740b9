"""Identities and certificates."""
