"""Istio's kinds as frozen structs, one file per API group."""
