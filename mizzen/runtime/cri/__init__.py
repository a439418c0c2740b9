"""The built-in CRI runtime: OCI bundles run by runc."""
