"""Sidecar injection and the webhooks."""
