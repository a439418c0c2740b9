"""Envoy's admin endpoints."""
